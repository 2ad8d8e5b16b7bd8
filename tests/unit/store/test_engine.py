"""How a database is opened."""

import logging

from hpsearch.store.engine import engine_options, parse_url


def test_psycopg_warns_nobody_of_what_it_raises():
    """A connection that breaks in the middle of a statement leaves one error and no other words."""
    engine_options(parse_url("postgresql://host/base"))
    assert not logging.getLogger("psycopg").isEnabledFor(logging.WARNING)

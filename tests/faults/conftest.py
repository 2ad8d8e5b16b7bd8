"""The same fixtures as the acceptance tests: real commands, really killed."""

from tests.acceptance.conftest import hpsearch, started

__all__ = ["hpsearch", "started"]

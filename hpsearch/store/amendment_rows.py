"""Amendments as rows, whoever made them: a person, or the search itself."""

from __future__ import annotations

import json

from sqlalchemy import Connection, func, insert, select

from hpsearch.search.amendments import Change, Place
from hpsearch.store import tables
from hpsearch.store.database import clock


def insert_amendment(connection: Connection, study_id: int, place: Place, change: Change) -> None:
    """Add the newest amendment of a study; the caller holds the study's row."""
    mine = tables.amendment.c.study_id == study_id
    there = select(func.count()).select_from(tables.amendment).where(mine)
    connection.execute(
        insert(tables.amendment).values(
            study_id=study_id,
            number=connection.execute(there).scalar_one() + 1,
            round=place.round,
            search_over=place.over,
            document=json.dumps(change.document()),
            made=clock(connection),
        )
    )

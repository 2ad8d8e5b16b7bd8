"""Schema migrations of the hpsearch_* tables, run by alembic with a version table of its own."""

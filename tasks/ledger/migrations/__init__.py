"""Alembic's migrations of the ledger; `tasks.ledger` runs them when it opens a database."""

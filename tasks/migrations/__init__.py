"""Alembic's migrations of the ledger; `tasks.store` runs them when it opens a database."""

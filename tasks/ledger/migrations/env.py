"""How Alembic reaches the ledger: connection and tables are handed in by `tasks.ledger.database`."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=context.config.attributes["metadata"],
    # SQLite cannot alter a table: Alembic copies it.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()

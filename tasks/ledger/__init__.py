"""The ledger, in SQLAlchemy: SQLite by default, PostgreSQL in production.

`tasks.ledger.ledger.open_ledger` opens a `Ledger`, whose fields are repositories. Read in this order: `tables` (the schema),
`rows` (rows as values), `database` (connections and transactions), `transitions` (state changes of a job), `queue` (jobs for
workers), `jobs` (jobs for owners).
"""

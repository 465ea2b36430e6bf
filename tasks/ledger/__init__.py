"""The ledger, in SQLAlchemy: SQLite by default, PostgreSQL in production.

`tasks.ledger.ledger.open_store` gives a `Store`; its parts are named after what they keep. Read in this order: `tables`
(what is kept), `rows` (as values), `database` (how it is reached), `transitions` (how a job moves), `queue` (for workers),
`jobs` (for owners).
"""

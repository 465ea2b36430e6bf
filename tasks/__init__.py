"""Jobs: the ledger, the queue and its workers, the HTTP API and its client; and the settings of an installation."""

"""Jobs: ledger, files, HTTP API, workers; the settings of an installation."""

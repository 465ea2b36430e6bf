"""The processes of an installation, each a command: API, app, worker, keeper."""

"""The server of the task API: how it listens, what it does behind a proxy, and how it stops."""

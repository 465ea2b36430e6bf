"""The task API: one file a noun; `server.make` puts them together."""

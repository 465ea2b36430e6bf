"""How a process connects to its database."""

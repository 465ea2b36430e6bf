"""One module a command: reads its arguments, calls a flow, shows the result."""

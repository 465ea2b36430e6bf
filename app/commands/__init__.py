"""One file a command: reads its arguments, calls a flow, says what came of it."""

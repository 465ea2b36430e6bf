"""`python -m app` is the command `portrait`: how its own children are started."""

from app.cli import main

main()

"""The app as a server: its web server, its HTTP routes, and the supervisor of all processes."""

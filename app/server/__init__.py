"""The app as a server: its processes, its routes, its cookies."""

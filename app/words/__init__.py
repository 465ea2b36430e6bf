"""Every text the app shows, by language."""

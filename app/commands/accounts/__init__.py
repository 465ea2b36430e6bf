"""Commands about owners and their data."""

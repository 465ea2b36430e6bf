"""Commands that make base models out of others."""

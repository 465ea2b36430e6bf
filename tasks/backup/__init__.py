"""Backups: ledger and data folder in one file, checked, restored into an empty installation, and erasures done again."""

"""Commands about what the ledger holds: jobs, people, faces that are never drawn."""

"""Who may do what, and who did: keys, sessions, owners, the audit log."""

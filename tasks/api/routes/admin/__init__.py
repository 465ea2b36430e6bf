"""Routes of admins: owners and the audit log."""

"""What the ledger keeps of consent and of erasure."""

"""Training sets and identities as folders on disk."""

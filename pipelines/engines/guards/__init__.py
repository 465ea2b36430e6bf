"""Guards: whether a picture may be drawn from and delivered."""

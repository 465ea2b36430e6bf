"""Studio portraits: framing the person, and backdrops painted by code."""

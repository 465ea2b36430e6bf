"""Styles that operators own: drafts, samples, published versions."""

"""The styles that operators own: schema, catalogue, packs."""

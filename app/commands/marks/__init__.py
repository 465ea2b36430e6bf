"""Commands about the marks that files carry."""

"""Families of base models, one module each, named after the family."""

import pkgutil


def family_names() -> list[str]:
    """Names of the families; imports none of their libraries."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))

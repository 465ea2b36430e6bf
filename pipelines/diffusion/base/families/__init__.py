"""Families of base models: the file names the family, and holds all that sets it apart."""

import pkgutil


def family_names() -> list[str]:
    """The families there are; asking loads none of their libraries."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))

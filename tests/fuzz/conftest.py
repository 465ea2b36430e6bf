"""How many inputs each door gets: a hundred, or as many as the profile of Hypothesis says."""

import secrets

import pytest
from hypothesis import settings

SEED = 20261130
"""Of the inputs of `make test`, which are the same in each run."""
settings.register_profile("fuzz", max_examples=10_000)


@pytest.fixture(scope="session")
def first_seed() -> int:
    """Where the inputs begin; with a profile of many, somewhere else in each run."""
    if settings().max_examples <= settings.get_profile("default").max_examples:
        return SEED
    return secrets.randbelow(1 << 32)

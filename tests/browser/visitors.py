"""Accounts of their own for tests that share one installation."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks import auth
from tasks.client.client import Client
from tasks.ledger.ledger import open_ledger
from tests.browser.conftest import Installation


@contextmanager
def signed_in(installation: Installation, owner: str, role: auth.Role = "person") -> Iterator[tuple[Client, str]]:
    """The API as an owner, and the secret of a session of theirs for the cookie of a browser."""
    ledger = open_ledger(f"sqlite:///{installation.home / 'ledger.db'}")
    key = auth.create_key(ledger, owner, "browser", role, time.time()).secret
    ledger.close()
    with Client(installation.api, key) as api:
        yield api, api.open_session(key=key).secret

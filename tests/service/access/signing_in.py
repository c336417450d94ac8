"""A service that needs keys, and browsers that are signed in to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from msgspec import Struct

from nearnorm.service.access import keyring
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.ledger.database import Ledger

JUNK = "x" * 43

KEYS = {"desk": ["feedback"], "other": ["feedback"], "ops": ["operate"], "all": keyring.ROLES}


class Guarded(Struct):
    """A service that needs keys, its ledger, and the secrets of keys by name."""

    client: httpx.Client
    ledger: Ledger
    keys: dict[str, str]


def sign_in(client: httpx.Client, key: str | None = None, analyst: str | None = None) -> dict[str, Any]:
    """Who the client is from now on; it sends the token with everything."""
    body = {name: value for name, value in (("key", key), ("analyst", analyst)) if value is not None}
    answer = client.post("/session", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    client.headers["X-CSRF-Token"] = found["csrf"]
    return found


@contextmanager
def browser(client: httpx.Client, secret: str | None = None) -> Iterator[httpx.Client]:
    """Another client of the same service, by the cookie of a session."""
    cookies = {COOKIE: secret} if secret else {}
    with httpx.Client(base_url=client.base_url, timeout=30, cookies=cookies, verify=False) as other:
        yield other

"""Every test here that asks for `client` or `ledger` runs on SQLite and on a real PostgreSQL."""

from collections.abc import Iterator

import pytest

from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.settings import Settings
from tests.service.access.signing_in import KEYS, Guarded
from tests.service.access.test_keys import made
from tests.service.both_databases import client as client
from tests.service.running import serving


@pytest.fixture
def guarded(settings: Settings, ledger: Ledger) -> Iterator[Guarded]:
    keys = {name: made(ledger, name, *roles) for name, roles in KEYS.items()}
    with serving(create_app(settings)) as client:
        yield Guarded(client, ledger, keys)

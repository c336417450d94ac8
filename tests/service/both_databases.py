"""A client of an application whose ledger is on SQLite, and on a real PostgreSQL: for a room's conftest."""

from collections.abc import Iterator

import httpx
import pytest

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.running import serving


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        yield client

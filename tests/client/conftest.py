"""A service whose keys have quotas, and clients of it."""

from collections.abc import Iterator

import pytest

import nearnorm
from nearnorm.service.access import keyring
from nearnorm.service.access.keyring import ROLES
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving

QUOTAS = {
    "free": Quota(),
    "slow": Quota(requests_per_second=1),
    "small": Quota(rows_per_request=300),
    "short": Quota(bytes_per_request=2_000),
}


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Its URL, and its keys by name. Every row is kept, so that each can be labelled."""
    bundle = make_bundle(tmp_path_factory.mktemp("bundle") / "payments")
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    ledger = Ledger.at(None, home)
    migrate(ledger)
    with ledger.write() as connection:
        keys = {
            name: keyring.create(connection, name, ROLES, "test", quota)[0] for name, quota in QUOTAS.items()
        }
    ledger.close()
    with serving(create_app(Settings(home=home, audit_rate=1.0, max_rows=1_000))) as http:
        yield str(http.base_url), keys


@pytest.fixture
def client(address: tuple[str, dict[str, str]]) -> Iterator[nearnorm.Client]:
    url, keys = address
    with nearnorm.Client(url, api_key=keys["free"]) as client:
        yield client

"""Two lines of one service, each with a model of its own that reads the same records."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.commands import nearnorm as nearnorm
from tests.service.running import home_with, serving


@pytest.fixture(scope="session")
def french(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "french", seed=1)


@pytest.fixture
def settings(tmp_path: Path, payments: Bundle) -> Settings:
    """Every row is kept, so that a test need not be lucky."""
    return Settings(home=home_with(tmp_path / "home", payments), audit_rate=1.0)


@pytest.fixture
def store(settings: Settings, french: Bundle) -> ModelStore:
    """`default` has a champion already."""
    store = ModelStore(settings.home / "models")
    store.activate(store.publish(french.path), by="test", model="payments-fr")
    return store


@pytest.fixture
def client(settings: Settings, store: ModelStore) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        yield client

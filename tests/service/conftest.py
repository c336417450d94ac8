"""One store with one small model, and a client of the application that serves it."""

from collections.abc import Iterator

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "payments")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "other", seed=1)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[httpx.Client]:
    """Nothing in a module's tests changes what it serves."""
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    with serving(create_app(Settings(home=home))) as client:
        yield client

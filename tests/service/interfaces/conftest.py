"""The starter model, all of whose features are numbers, as a newcomer serves it."""

from collections.abc import Iterator

import httpx
import pytest

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.running import serving


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(create_app(Settings(home=tmp_path_factory.mktemp("home")))) as client:
        yield client

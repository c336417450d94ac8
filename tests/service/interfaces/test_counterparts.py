"""KServe's client and MLServer's codecs, each in an environment of its own, get the numbers of /score."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.environments import python_of
from tests.service.running import serving

HERE = Path(__file__).parent
COLUMNS = {f"f{i}": [50.0 + i, 60.0 - i] for i in range(1, 10)}


def called(name: str, url: str) -> dict[str, Any]:
    script = HERE / f"call_{name}.py"
    done = subprocess.run(
        [python_of(name), script, url, json.dumps(COLUMNS)], capture_output=True, text=True, cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(create_app(Settings(home=tmp_path_factory.mktemp("home")))) as client:
        yield client


@pytest.mark.parametrize("name", ["kserve", "mlserver"])
def test_another_projects_client_gets_the_numbers_of_score(starter: httpx.Client, name: str) -> None:
    found = called(name, str(starter.base_url).rstrip("/"))
    scored = starter.post("/score", json={"columns": COLUMNS}).json()["results"]
    for output in ("score", "percentile", "anomaly", "prototype", "distance"):
        assert found[output] == scored[output]
    if name == "kserve":
        assert [found[what] for what in ("live", "ready", "model")] == [True, True, True]

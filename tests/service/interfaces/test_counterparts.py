"""KServe's client and MLServer's codecs, each in an environment of its own, get the numbers of /score."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.environments import python_of

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


@pytest.mark.parametrize("name", ["kserve", "mlserver"])
def test_another_projects_client_gets_the_numbers_of_score(starter: httpx.Client, name: str) -> None:
    found = called(name, str(starter.base_url).rstrip("/"))
    scored = starter.post("/score", json={"columns": COLUMNS}).json()["results"]
    for output in ("score", "percentile", "anomaly", "prototype", "distance"):
        assert found[output] == scored[output]
    if name == "kserve":
        assert [found[what] for what in ("live", "ready", "model")] == [True, True, True]


def test_the_pages_request_is_answered(starter: httpx.Client) -> None:
    page = (Path(__file__).parents[3] / "docs" / "open-inference.md").read_text()
    body = page.partition(" -d '")[2].partition("'")[0]
    answer = starter.post("/v2/models/default/infer", json=json.loads(body)).json()
    assert answer["id"] == "first"
    assert [one["name"] for one in answer["outputs"]] == ["score", "anomaly", "reasons"]

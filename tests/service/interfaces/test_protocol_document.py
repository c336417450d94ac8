"""The protocol's own OpenAPI document, which MLServer's package carries, in schemathesis on our routes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.environments import python_of
from tests.service.asking import RECORD
from tests.service.interfaces.test_open_inference import tensors

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
OF_MLSERVER = ("infer_stream", "generate", "generate_stream")  # not in the protocol


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    installed = python_of("mlserver").parent.parent
    (path,) = installed.glob("lib/python*/site-packages/mlserver/rest/openapi/dataplane.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def of_our_model(document: dict[str, Any], version: str) -> dict[str, Any]:
    """With our model's name and version in the paths, and an example of its tensors; without what is
    MLServer's alone, and the type `bytes`, which JSON has not."""
    changed: dict[str, Any] = json.loads(json.dumps(document))
    changed["components"]["schemas"]["TensorData"] = {"type": "array"}
    changed["paths"] = {
        path: operations
        for path, operations in changed["paths"].items()
        if path.rpartition("/")[2] not in OF_MLSERVER
    }
    for path, operations in changed["paths"].items():
        for parameter in operations.get("parameters", []):
            known = {"model_name": "default", "model_version": version}
            parameter["schema"]["enum"] = [known[parameter["name"]]]
        if path.endswith("/infer"):
            media = operations["post"]["requestBody"]["content"]["application/json"]
            media["example"] = {"id": "first", "inputs": tensors(RECORD), "outputs": [{"name": "score"}]}
    return changed


def answered(client: httpx.Client, status: int) -> int:
    """How many requests for inference got it."""
    counted = rf'^nearnorm_requests_total{{.*"/v2/models/{{model_name}}/infer",status="{status}"}} (\d+)'
    found = re.search(counted, client.get("/metrics").text, re.M)
    return int(found[1]) if found else 0


def test_our_routes_keep_to_the_protocols_own_description(
    client: httpx.Client, document: dict[str, Any], tmp_path: Path
) -> None:
    version = client.get("/v2/models/default").json()["versions"][0]
    schema = tmp_path / "dataplane.json"
    schema.write_text(json.dumps(of_our_model(document, version)))
    command = [str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run", str(schema)]
    phases = (
        "--phases",
        "examples,fuzzing",
        "--max-examples",
        "10",
        "--generation-deterministic",
        "--no-shrink",
    )
    options = ("--url", str(client.base_url), "--checks", CHECKS, "--warnings", "off", *phases)
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    assert answered(client, 200) >= 1
    assert answered(client, 400) >= 1

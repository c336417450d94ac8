"""MLflow's own loader, server and registry take what `nearnorm export --mlflow` writes."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.errors import ConfigError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.cli.export import export as export_command
from nearnorm.service.interfaces.mlflow_model.export import export
from nearnorm.service.interfaces.mlflow_model.loader import _load_pyfunc
from tests.environments import python_of
from tests.ports import free_port

ROOT = Path(__file__).parents[4]
RECORDS = [
    {"amount": 20.0, "epoch": 1_700_000_000, "new device": True, "country": "DE", "channel": "web"},
    {"amount": 900.0, "epoch": None, "new device": False, "country": "Atlantis", "channel": "shop"},
    {"amount": None, "epoch": 1_700_000_000, "new device": None, "country": None, "channel": "web"},
    {"amount": 41.0, "epoch": 1_700_050_000, "new device": None, "country": "7", "channel": "shop"},
]
NUMBERS = ("score", "percentile", "anomaly", "prototype", "distance", "reconstruction_error")


@pytest.fixture(scope="module")
def model(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(bundle, folder)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mlflow")
    return {
        "PATH": f"{python_of('mlflow').parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(folder),
        "NEARNORM_HOME": str(folder / "home"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@pytest.fixture(scope="module")
def server(model: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    port = free_port()
    command = ["-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "-p", str(port)]
    process = subprocess.Popen(
        [python_of("mlflow"), *command],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 120
            while not answers(client):
                assert process.poll() is None, "mlflow models serve ended"
                assert time.monotonic() < deadline, "mlflow models serve does not answer"
                time.sleep(0.1)
            yield client
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ping").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def found(model: Path, environment: dict[str, str], server: httpx.Client) -> dict[str, Any]:
    """What MLflow's own Python made of the folder."""
    script = Path(__file__).parent / "in_mlflow.py"
    run = subprocess.run(
        [python_of("mlflow"), script, model, json.dumps(RECORDS)],
        env=environment,
        capture_output=True,
        text=True,
        cwd=environment["HOME"],
    )
    assert not run.returncode, run.stderr
    document: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return document | {"said": run.stderr}


def same(rows: list[dict[str, Any]], served: list[dict[str, Any]]) -> None:
    assert len(rows) == len(served)
    for row, result in zip(rows, served, strict=True):
        if "error" in result:
            assert row["error"].startswith(f"{result['error']['field']}: ")
            assert [row[name] for name in NUMBERS] == [None] * len(NUMBERS)
        else:
            assert row["error"] is None
            assert [row[n] for n in NUMBERS] == pytest.approx([result[n] for n in NUMBERS], rel=1e-5)


def test_mlflows_loader_gives_the_services_numbers(found: dict[str, Any], client: httpx.Client) -> None:
    same(found["scored"], client.post("/score", json={"records": RECORDS}).json()["results"])
    assert found["types"]["epoch"] == "float64", "integers of which one is missing are floats to pandas"
    assert [row["error"] is None for row in found["whole numbers"]] == [True, True, False, True]
    assert sum(bool(row["anomaly"]) for row in found["by 10%"]) >= sum(
        bool(row["anomaly"]) for row in found["scored"]
    )


def test_mlflows_server_gives_them_too(server: httpx.Client, client: httpx.Client) -> None:
    asked = server.post("/invocations", json={"dataframe_records": RECORDS})
    predictions = json.loads(asked.content, parse_constant=pytest.fail)  # NaN is no JSON
    same(predictions["predictions"], client.post("/score", json={"records": RECORDS}).json()["results"])


def test_its_signature_says_which_columns_have_to_be_there(found: dict[str, Any], bundle: Bundle) -> None:
    scored = bundle.manifest.core.features.scored
    assert found["inputs"] == [[feature.name, not feature.nullable] for feature in scored]
    assert found["example"] == 3
    assert found["version"] == bundle.version


def test_a_registrys_alias_is_imported_and_one_that_is_not_there_is_named(
    found: dict[str, Any], environment: dict[str, str], bundle: Bundle
) -> None:
    stored = ModelStore(Path(environment["NEARNORM_HOME"]) / "models")
    assert stored.versions() == [bundle.version]
    assert stored.open(bundle.version).model == bundle.model
    assert found["exits"] == [0, 2]
    assert "nearnorm: models:/payments@nobody cannot be had from the MLflow registry" in found["said"]


def test_the_bundle_within_is_whole_but_for_peoples_records(model: Path, bundle: Bundle) -> None:
    assert read_bundle(model / "bundle").version == bundle.version
    within = {path.name for path in (model / "bundle").iterdir()}
    assert {path.name for path in bundle.path.iterdir()} - within == {"review.jsonl"}


def test_a_folder_with_something_is_not_written_over(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already: name a new or empty folder"):
        export(bundle, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    export(bundle, tmp_path / "empty")


def test_a_budget_is_kept_with_the_model_and_refused_where_it_cannot_be(
    bundle: Bundle, tmp_path: Path
) -> None:
    export_command(bundle.path, tmp_path / "model", "10% of normal")
    described = json.loads((tmp_path / "model" / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["config"] == {"budget": "10% of normal"}
    with pytest.raises(ConfigError, match="solved from traffic"):
        export_command(bundle.path, tmp_path / "other", "40 a day")
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigError, match="model_config has no key 'treshold'"):
        _load_pyfunc(str(tmp_path / "model" / "bundle"), {"treshold": 1})

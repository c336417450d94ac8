"""What lies in the folder where somebody starts Nearnorm is theirs: no process of ours imports it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.journey.loop import LONGEST_JOB, NEARNORM, serving
from tests.service.waiting import until

NAMES = (
    *("nearnorm", "models", "service", "training", "json", "typing", "logging", "random", "secrets", "uuid"),
    *("numpy", "torch", "sklearn", "onnx", "onnxruntime", "pyarrow", "msgspec", "pydantic", "sqlalchemy"),
    *("fastapi", "uvicorn", "uvloop", "typer", "structlog", "multiprocessing"),
)
QUICK = "[fit]\nrepresentation_epochs = 1\njoint_epochs = 2\nmembers = 2\nforests = 1\ntrees = 2\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a module and a package of each name, which tell when they are imported."""
    trap = (
        f"open({str(tmp_path / 'trapped')!r}, 'a').write(__name__ + '\\\\n'); raise ImportError('not ours')\n"
    )
    folder = tmp_path / "theirs"
    for name in NAMES:
        package = folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(trap)
        (folder / f"{name}.py").write_text(trap)
    monkeypatch.chdir(folder)
    return folder


def trapped(folder: Path) -> str:
    told = folder.parent / "trapped"
    return told.read_text() if told.exists() else ""


def test_the_trap_is_one(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "json.tool"], stdin=subprocess.DEVNULL, capture_output=True)
    assert "json" in trapped(folder)


def test_training_serving_processes_a_worker_and_a_retraining_import_nothing_from_the_current_folder(
    folder: Path,
) -> None:
    home = folder.parent / "home"
    environment = os.environ | {"NEARNORM_HOME": str(home)}

    def nearnorm(*words: str) -> str:
        run = subprocess.run([NEARNORM, *words], env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()[-1]

    rng = np.random.default_rng(0)
    label = pa.array([1] * 5 + [None] * 295, pa.int8())
    rows = {"amount": rng.lognormal(3, 1, 300), "age": rng.integers(18, 80, 300), "label": label}
    pq.write_table(pa.table(rows), folder / "rows.parquet")
    (folder / "quick.toml").write_text(QUICK)
    words = ["rows.parquet", "--out", "bundle", "--config", "quick.toml", "--progress", "off"]
    nearnorm("train", *words)
    nearnorm("models", "activate", nearnorm("models", "import", "bundle"))
    with serving(home, workers="2") as client:
        record = {"amount": 9_000.0, "age": 20}
        client.label({"record": record, "label": "anomaly"}, analyst="mei")
        job = client.wait(client.retrain()["job_id"], timeout=LONGEST_JOB)
        assert job["state"] in ("succeeded", "refused"), job
        assert client.score([record])[0]["score"] > 0
    assert trapped(folder) == ""
    assert "it is started again" not in (home / "service.log").read_text()


def test_one_serving_process_and_the_worker_beside_it_import_nothing_from_the_current_folder(
    folder: Path,
) -> None:
    home = folder.parent / "home"
    with serving(home) as client:
        until(lambda: "worker ready" in (home / "service.log").read_text(), 60)
        assert "score" in client.score([{}])[0]
    assert trapped(folder) == ""


def test_a_worker_of_its_own_imports_nothing_from_the_current_folder(folder: Path) -> None:
    home = folder.parent / "home"
    home.mkdir()
    with (home / "log").open("wb") as log:
        worker = subprocess.Popen(
            [NEARNORM, "worker"], env=os.environ | {"NEARNORM_HOME": str(home)}, stderr=log
        )
        try:
            until(lambda: "worker ready" in (home / "log").read_text(), 60)
        finally:
            worker.terminate()
            worker.wait(30)
    assert trapped(folder) == ""

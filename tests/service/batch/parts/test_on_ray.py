"""Parts on a real Ray cluster of two nodes, one of which dies in the middle; S3 by moto's server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from obstore.store import S3Store
from typer.testing import CliRunner

from nearnorm.batch import BatchScorer
from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.files.format import FOUND
from nearnorm.models.errors import ConfigError
from nearnorm.service.batch.parts.on_ray import Pool, actors
from nearnorm.service.batch.parts.run import MANIFEST, in_this_process, score_parts
from nearnorm.service.cli.main import cli
from tests.s3 import BUCKET, running_s3
from tests.service.batch.parts.conftest import ROWS, payments
from tests.two_nodes import two_nodes

FILES = 60
pytestmark = pytest.mark.timeout(1_200)  # clusters start and end


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = {"NEARNORM_HOME": str(tmp_path_factory.mktemp("home")), "RAY_USAGE_STATS_ENABLED": "0"}
    with running_s3() as s3:
        yield {**os.environ, **s3, **home}


def nearnorm(variables: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "nearnorm", *arguments],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_node_that_dies_in_the_middle_costs_no_row_and_doubles_none(
    variables: dict[str, str],
    bundle: Bundle,
    score: BatchScorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = S3Store(BUCKET)
    for i in range(FILES):
        path = tmp_path / "lake" / f"day={i % 3}" / f"{i}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(payments(i), path)
        obstore.put(store, f"lake/day={i % 3}/{i}.parquet", path)
    out = f"s3://{BUCKET}/scores"

    def parts() -> dict[str, str]:
        listed = [e["path"].removeprefix("scores/") for page in obstore.list(store, "scores") for e in page]
        return {name.partition("-")[0]: name for name in listed if name.startswith("day=")}

    command = ["score", str(bundle.path), f"s3://{BUCKET}/lake/day=*/*.parquet", "--out", out, "--keep", "id"]
    with two_nodes(variables) as cluster:
        run = nearnorm(variables, *command, "--engine", "ray", "--address", cluster.address)
        deadline = time.monotonic() + 540
        while len(parts()) < 5:
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        cluster.kill_one()
        assert len(parts()) < FILES, "it was killed too late to matter"
        told = run.communicate(timeout=540)
    assert run.returncode == 0, told
    assert f"{FILES} parts in {out}: {FILES * ROWS:,} rows" in told[0]

    local = tmp_path / "out"
    alone = replace(score, keep=("id",))
    score_parts(alone, str(tmp_path / "lake"), str(local), FOUND, in_this_process, lambda _: None)
    manifest = json.loads(obstore.get(store, f"scores/{MANIFEST}").bytes().to_bytes())
    expected = json.loads((local / MANIFEST).read_bytes())
    assert [manifest[key] for key in ("rows", "errors", "anomalies")] == [
        expected[key] for key in ("rows", "errors", "anomalies")
    ]
    ids = set()
    for name in parts().values():
        (beside,) = local.glob(f"{name.partition('-')[0]}-*.parquet")
        content = obstore.get(store, f"scores/{name}").bytes().to_bytes()
        assert content == beside.read_bytes()
        ids.update(pq.read_table(beside)["id"].to_pylist())
    assert len(parts()) == FILES
    assert len(ids) == FILES * ROWS


def test_without_an_address_a_cluster_is_started_here_and_ended(
    variables: dict[str, str], bundle: Bundle, lake: Path, tmp_path: Path
) -> None:
    damaged = lake / "day=1" / "a.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    out = str(tmp_path / "out")
    run = nearnorm(variables, "score", str(bundle.path), str(lake), "--out", out, "--engine", "ray")
    told = run.communicate(timeout=540)
    assert run.returncode == 2
    last = told[1].splitlines()[-1]
    assert "day=1/a.parquet cannot be read as parquet" in last
    assert "5 of 6 parts are in" in last
    assert "Traceback" not in told[1]


def test_a_cluster_that_is_not_there_is_told(
    variables: dict[str, str], bundle: Bundle, lake: Path, tmp_path: Path
) -> None:
    command = ["score", str(bundle.path), str(lake), "--out", str(tmp_path / "out"), "--engine", "ray"]
    run = nearnorm({**variables, "RAY_gcs_rpc_server_reconnect_timeout_s": "1"}, *command, "--address", "x")
    told = run.communicate(timeout=540)
    assert run.returncode == 2
    assert "--address x: no Ray cluster answers there" in told[1].splitlines()[-1]
    assert "Traceback" not in told[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--workers", "2"], "give --engine ray with them"),
        (["--address", "x"], "give --engine ray with them"),
        (["--engine", "ray", "--out", "scores.csv"], "an engine writes parts: name a folder or a URL"),
        (["--out", "scores.txt"], "must end in .csv or .parquet, or in / for a folder"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    bundle: Bundle, tmp_path: Path, options: list[str], sentence: str
) -> None:
    command = ["score", str(bundle.path), "x.csv", "--out", str(tmp_path / "out"), *options]
    refused = CliRunner().invoke(cli, command).exception
    assert isinstance(refused, ConfigError)
    assert sentence in str(refused)


def test_actors_have_gpus_where_there_is_cuda_for_them() -> None:
    gpus = {"CPU": 16.0, "GPU": 4.0}
    assert actors(gpus, "cuda", None) == Pool(4, {"num_gpus": 1})
    assert actors(gpus, "cuda", 2) == Pool(2, {"num_gpus": 1})
    assert actors(gpus, "cpu", None) == Pool(16, {"num_cpus": 1})
    assert actors({"CPU": 16.0}, "auto", 99) == Pool(16, {"num_cpus": 1})
    with pytest.raises(ConfigError, match="no node of the Ray cluster has a GPU"):
        actors({"CPU": 16.0}, "cuda", None)

"""Rows drawn on a real Ray cluster of two nodes: those that one process draws, though a node dies."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import S3Store

from nearnorm import models
from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.models.data.files.parts import open_parts
from nearnorm.models.engines.options import EngineName
from nearnorm.models.errors import ConfigError
from nearnorm.training import pipeline
from nearnorm.training.commands import train
from nearnorm.training.dataset.lake import on_ray
from nearnorm.training.dataset.lake.engine import in_this_process
from nearnorm.training.dataset.lake.on_ray import RayLakeEngine
from tests.s3 import BUCKET, running_s3
from tests.service.waiting import until
from tests.training.conftest import PAYMENTS
from tests.training.dataset.lake.gated import PLACES
from tests.two_nodes import TwoNodes, two_nodes

FILES = 7
STARTER = Path(models.__file__).parent / "starter"
ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.timeout(1_200)  # a cluster starts and ends


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    with running_s3() as s3:
        yield {**os.environ, **s3, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def cluster(variables: dict[str, str]) -> Iterator[TwoNodes]:
    with two_nodes(variables) as running:
        yield running


def run(variables: dict[str, str], *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", *map(str, words)],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_model_trained_by_ray_is_the_one_trained_without_to_the_byte(
    cluster: TwoNodes, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    table = pq.read_table(PAYMENTS)
    (tmp_path / "lake").mkdir()
    for i in range(FILES):
        path = tmp_path / "lake" / f"{i}.parquet"
        pq.write_table(table.slice(i * 500, 500 if i < FILES - 1 else None), path, row_group_size=100)
        obstore.put(S3Store(BUCKET), f"lake/{i}.parquet", path)
    config = tmp_path / "quick.toml"
    config.write_text(
        "[fit]\nrepresentation_epochs = 1\njoint_epochs = 1\nmembers = 1\nforests = 1\ntrees = 2\n"
    )
    words = ["--config", config, "--unlabelled", 1_000, "--progress", "json"]
    here = run(variables, "nearnorm", "train", tmp_path / "lake", "--out", tmp_path / "here", *words)
    told_here = here.communicate(timeout=540)
    words += ["--engine", "ray", "--address", cluster.address]
    there = run(variables, "nearnorm", "train", f"s3://{BUCKET}/lake/", "--out", tmp_path / "there", *words)
    told_there = there.communicate(timeout=540)
    assert (here.returncode, there.returncode) == (0, 0), (told_here, told_there)
    one, other = (read_bundle(tmp_path / name) for name in ("here", "there"))
    assert (one.version, one.model) == (other.version, other.model)
    assert one.manifest.core.data.drawn_from == len(table) - 35
    lines = [[line for line in told[0].splitlines() if '"read"' in line] for told in (told_here, told_there)]
    assert lines[0] == lines[1], "progress"


def test_a_bad_file_is_told_as_it_is_without_ray(
    cluster: TwoNodes, variables: dict[str, str], tmp_path: Path
) -> None:
    for i in range(FILES):
        table = pa.table({"x": np.random.default_rng(i).normal(size=2_000), "s": ["a", "b"] * 1_000})
        pq.write_table(table.append_column("label", pa.nulls(2_000)), tmp_path / f"{i}.parquet")
    damaged = tmp_path / "4.parquet"
    content = bytearray(damaged.read_bytes())
    content[4:2_000] = bytes(1_996)
    damaged.write_bytes(content)
    words = ["nearnorm", "train", tmp_path, "--out", tmp_path / "out", "--unlabelled", 1_000]
    here = run(variables, *words)
    there = run(variables, *words, "--engine", "ray", "--address", cluster.address)
    told = [each.communicate(timeout=540)[1] for each in (here, there)]
    assert here.returncode == there.returncode == 2
    assert told[0].splitlines()[-1] == told[1].splitlines()[-1]
    assert "4.parquet cannot be read as parquet: it is damaged" in told[1]
    assert "Traceback" not in told[1]
    assert "Ray" not in told[1]


def test_what_a_dead_node_was_at_and_what_it_had_done_is_done_again(
    cluster: TwoNodes, variables: dict[str, str], tmp_path: Path
) -> None:
    """The last test of this cluster. The first piece and the fourth wait at a gate, so on either node one;
    what lies between is done, on one of them, and not yet taken."""
    lake, gate = tmp_path / "lake", tmp_path / "gate"
    lake.mkdir()
    gate.mkdir()
    for i in range(FILES):  # too large to travel without the nodes' own memory
        pq.write_table(pa.table({"x": np.full(20_000, i)}), lake / f"{i}.parquet")
    gated = run(variables, "tests.training.dataset.lake.gated", cluster.address, lake, gate)

    def two_at_the_gate() -> bool:
        assert gated.poll() is None, gated.communicate()
        return {path.suffix for path in gate.iterdir()} >= {".0", ".3"}

    until(two_at_the_gate, 540)
    nodes = {path.suffix: path.stem for path in gate.iterdir()}
    assert nodes[".0"] != nodes[".3"]
    cluster.kill_one()
    (gate / "open").touch()
    told = gated.communicate(timeout=540)
    assert gated.returncode == 0, told
    rows = [[str(i), place, 20_000 * i] for i in range(FILES) for place in range(PLACES)]
    assert json.loads(told[0].splitlines()[-1]) == rows


def test_options_that_change_nothing_are_refused_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="give --engine ray with them"):
        train("x.parquet", tmp_path / "m", address="x")
    (tmp_path / "a.csv").write_text("x,label\n1,\n2,\n")
    pieces = open_parts(str(tmp_path / "a.csv")).pieces
    with pytest.raises(ConfigError, match="--engine ray reads Parquet"):
        next(RayLakeEngine(1)(lambda piece: iter([]), pieces))
    monkeypatch.setattr(on_ray, "on_ray", lambda address, workers: nullcontext(in_this_process))
    monkeypatch.setattr(pipeline, "train_bundle", lambda prepared, watcher: read_bundle(STARTER))
    train(PAYMENTS, tmp_path / "m", engine=EngineName.RAY)
    assert (
        f"all rows of {PAYMENTS} are kept, and so were read where the command runs" in capsys.readouterr().err
    )

"""docs/engines.md's blocks run as they stand: Spark's by its own Python, the others here.

`my-model` is the starter model, `lake` some of its sample, a folder a day.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from nearnorm import models
from nearnorm.batch import scorer
from tests.environments import python_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engines.md").read_text()
STARTER = Path(models.__file__).parent / "starter"
DAYS, ROWS = 3, 200


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my-model").symlink_to(STARTER)
    sample = pq.read_table(ROOT / "training" / "samples" / "shuttle_train.parquet").drop_columns(["label"])
    for day in range(DAYS):
        ids = pa.array([f"{day}-{i}" for i in range(ROWS)])
        (tmp_path / "lake" / f"day={day}").mkdir(parents=True)
        rows = sample.slice(day * ROWS, ROWS).append_column("id", ids)
        pq.write_table(rows, tmp_path / "lake" / f"day={day}" / "a.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lake(folder: Path) -> pa.Table:
    return ds.dataset(folder / "lake", partitioning="hive").to_table()


def block(title: str) -> str:
    blocks = dict(re.findall(r"^## ([\w ]+)\n\n```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
    return str(blocks[title])


def test_the_function_is_as_on_the_page(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    exec(block("One function"), {})  # noqa: S102 - the page's own
    assert "'id': 'b', 'score': 0.9" in capsys.readouterr().out


def test_every_block_of_the_page_is_tried() -> None:
    assert PAGE.count("```python") == 4


@pytest.mark.parametrize("title", ["DuckDB", "polars"])
def test_frames_of_other_engines_are_scored_where_they_lie(folder: Path, title: str) -> None:
    pytest.importorskip(title.lower())
    names: dict[str, Any] = {}
    exec(block(title), names)  # noqa: S102 - the page's own
    answers = names["answers"]
    found = answers if isinstance(answers, pl.DataFrame) else pl.DataFrame(answers)
    rows = pl.DataFrame(lake(folder)).filter(pl.col("f9") > 0)
    expected = pl.DataFrame(pa.Table.from_batches(scorer(STARTER, keep=["id"])(rows)))
    assert found.sort("id").select(expected.columns).equals(expected.sort("id"))
    assert 0 < len(found) < DAYS * ROWS


@pytest.mark.timeout(1_200)  # a Spark starts and ends
def test_spark_scores_by_map_in_arrow(folder: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("no java (apt-get install default-jre-headless)")
    patient = "--conf spark.python.authenticate.socketTimeout=300s"  # a busy machine starts workers slowly
    local = f"--master local[2] --conf spark.ui.enabled=false {patient} pyspark-shell"
    done = subprocess.run(
        [python_of("spark"), "-c", block("Spark")],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "PYSPARK_PYTHON": str(python_of("spark")),
            "PYSPARK_SUBMIT_ARGS": local,
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=1_080,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = ds.dataset(folder / "scores", partitioning="hive").to_table().sort_by("id")
    expected = pa.Table.from_batches(scorer(STARTER, keep=["id"])(lake(folder))).sort_by("id")
    assert found["id"] == expected["id"]
    assert found["anomaly"] == expected["anomaly"]
    assert found["score"].to_pylist() == pytest.approx(expected["score"].to_pylist(), rel=1e-5)

"""Files become parts, each whole or not there; a run goes on where the one before it ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from nearnorm.batch import BatchScorer
from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.files.format import FOUND
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.parts.plan import OutputPart
from nearnorm.service.batch.parts.run import MANIFEST, RunProgress, in_this_process, score_parts
from nearnorm.service.batch.parts.work import PartResult, PartScorer
from tests.s3 import BUCKET, running_s3
from tests.service.batch.parts.conftest import DAYS, ROWS, payments


def run(score: BatchScorer, source: object, out: object) -> RunProgress:
    told: list[RunProgress] = []
    found = score_parts(score, str(source), str(out), FOUND, in_this_process, told.append)
    assert told[-1] == found
    return found


def contents(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_each_file_is_scored_into_its_folder_and_the_manifest_comes_last(
    lake: Path, score: BatchScorer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score = replace(score, keep=("id",))
    found = run(score, lake, out)
    assert (found.parts, found.of, found.counts.rows, found.counts.errors) == (DAYS, DAYS, DAYS * ROWS, DAYS)
    answers = ds.dataset(out, partitioning="hive").to_table().sort_by("id")
    expected = pa.concat_tables(pa.Table.from_batches(score(payments(day))) for day in range(DAYS)).sort_by(
        "id"
    )
    assert [row["id"].startswith(f"{row['day']}-") for row in answers.to_pylist()] == [True] * DAYS * ROWS
    assert answers["id"] == expected["id"]
    assert answers["score"] == expected["score"]
    assert answers["anomaly"] == expected["anomaly"]
    manifest = json.loads((out / MANIFEST).read_bytes())
    assert manifest["version"] == score.bundle.version
    assert manifest["threshold"] == score.verdict.threshold
    assert (manifest["rows"], manifest["errors"]) == (DAYS * ROWS, DAYS)
    assert manifest["anomalies"] == sum(part["anomalies"] for part in manifest["parts"]) > 0
    assert {part["part"] for part in manifest["parts"]} == {n for n in contents(out) if n.startswith("day=")}


def test_rows_with_errors_are_told_beside_the_parts(lake: Path, score: BatchScorer, tmp_path: Path) -> None:
    run(score, lake, tmp_path / "out")
    lines = [
        json.loads(line)
        for path in sorted((tmp_path / "out" / "_errors").rglob("*.ndjson"))
        for line in path.read_text().splitlines()
    ]
    detail = "amount: the value is missing, and must be given"
    assert lines == [
        {"file": str(lake / f"day={day}" / "a.parquet"), "row": 5, "error": detail} for day in range(DAYS)
    ]


def test_parts_that_are_there_are_not_scored_again(lake: Path, score: BatchScorer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(score, lake, out)
    before = contents(out)
    (victim,) = out.glob("day=3/*.parquet")
    victim.unlink()
    (out / MANIFEST).unlink()
    worked: list[str] = []

    def engine(work: PartScorer, parts: Sequence[OutputPart]) -> Iterator[PartResult]:
        worked.extend(part.name for part in parts)
        assert not (out / MANIFEST).exists()
        return in_this_process(work, parts)

    found = score_parts(score, str(lake), str(out), FOUND, engine, lambda _: None)
    assert worked == [victim.relative_to(out).as_posix()]
    assert found.counts.rows == DAYS * ROWS
    assert contents(out) == before


def test_new_files_are_scored_alone(lake: Path, score: BatchScorer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(score, lake, out)
    before = contents(out)
    (lake / "day=9").mkdir()
    pq.write_table(payments(9), lake / "day=9" / "b.parquet")
    assert run(score, lake, out).counts.rows == (DAYS + 1) * ROWS
    after = contents(out)
    assert {name: after[name] for name in before if name != MANIFEST} == {
        name: content for name, content in before.items() if name != MANIFEST
    }


def test_a_folder_of_something_else_is_refused(lake: Path, score: BatchScorer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(score, lake, out)
    with pytest.raises(ConfigError, match=r"holds day=0/a-\w+\.parquet, which is of other data"):
        run(replace(score, keep=()), lake, out)
    for where in (lake, lake / "day=0", lake / "scores", lake.parent):
        with pytest.raises(ConfigError, match="lies among, what is read"):
            run(score, lake, where)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        run(score, lake, tmp_path / "file")
    with pytest.raises(ConfigError, match="to s3, gs, az URLs"):
        run(score, lake, "ftp://host/out")
    (victim,) = out.glob("day=3/*.parquet")
    pq.write_table(pa.table({"x": [1]}), victim)
    with pytest.raises(DataError, match=r"day=3/a-\w+\.parquet is no part of a run: remove it"):
        run(score, lake, out)


def test_a_file_that_cannot_be_read_holds_no_other_up(lake: Path, score: BatchScorer, tmp_path: Path) -> None:
    out, damaged = tmp_path / "out", lake / "day=1" / "a.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-50])
    message = rf"day=1/a\.parquet cannot be read as parquet.*; {DAYS - 1} of {DAYS} parts are in .*goes on"
    with pytest.raises(DataError, match=message):
        run(score, lake, out)
    assert not (out / MANIFEST).exists()
    damaged.write_bytes(whole)
    assert run(score, lake, out).counts.rows == DAYS * ROWS


def test_files_of_something_else_end_the_run_soon(score: BatchScorer, tmp_path: Path) -> None:
    tried: list[str] = []

    def engine(work: PartScorer, parts: Sequence[OutputPart]) -> Iterator[PartResult]:
        for part in parts:
            tried.append(part.name)
            yield work(part)

    (tmp_path / "lake").mkdir()
    for i in range(9):
        pq.write_table(pa.table({"x": [i]}), tmp_path / "lake" / f"{i}.parquet")
    with pytest.raises(DataError, match=r"0\.parquet lacks 5 of 5 columns .*and 2 more like it"):
        score_parts(score, str(tmp_path / "lake"), str(tmp_path / "out"), FOUND, engine, lambda _: None)
    assert len(tried) == 3


def test_csv_and_empty_files_are_parts_too(score: BatchScorer, tmp_path: Path) -> None:
    lake, out = tmp_path / "lake", tmp_path / "out"
    (lake / "day=0").mkdir(parents=True)
    pa_csv.write_csv(payments(0), lake / "day=0" / "a.csv")
    (lake / "day=0" / "empty.csv").write_text("id,amount,epoch,new device,country,channel\n")
    pq.write_table(payments(1), lake / "b.parquet")
    pq.write_table(payments(1).slice(0, 0), lake / "empty.parquet")
    found = run(replace(score, keep=("id",)), lake, out)
    assert (found.parts, found.counts.rows) == (4, 2 * ROWS)
    rows = {path.name.partition("-")[0]: pq.read_table(path).num_rows for path in out.rglob("*.parquet")}
    assert rows == {"a": ROWS, "empty": 0, "b": ROWS}


def test_a_bucket_is_read_and_written_like_folders(
    lake: Path, score: BatchScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore
    from obstore.store import S3Store

    with running_s3() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        store = S3Store(BUCKET)
        for path in lake.rglob("*.parquet"):
            obstore.put(store, path.relative_to(lake.parent).as_posix(), path)
        source, out = f"s3://{BUCKET}/lake/day=*/*.parquet", f"s3://{BUCKET}/scores"
        assert run(score, source, out).counts.rows == DAYS * ROWS
        listed = [e["path"] for page in obstore.list(store, "scores") for e in page]
        parts = [name for name in listed if name.startswith("scores/day=")]
        assert len(parts) == DAYS
        assert len([name for name in listed if name.startswith("scores/_errors/day=")]) == DAYS
        run(score, lake, tmp_path / "out")
        for name in parts:
            (local,) = (tmp_path / "out").glob(f"{name.split('/')[1]}/*.parquet")
            assert obstore.get(store, name).bytes().to_bytes() == local.read_bytes()
        obstore.delete(store, parts[0])
        assert run(score, source, out).parts == DAYS
        with pytest.raises(ConfigError, match="lies among, what is read"):
            run(score, f"s3://{BUCKET}/lake/", f"s3://{BUCKET}/lake/scores")


def test_a_run_that_is_killed_leaves_whole_parts_and_the_next_goes_on(
    bundle: Bundle, lake: Path, score: BatchScorer, tmp_path: Path
) -> None:
    for i in range(40):
        pq.write_table(payments(i), lake / f"{i}.parquet")
    run(replace(score, keep=("id",)), lake, tmp_path / "whole")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "nearnorm", "score", str(bundle.path), str(lake), "--out", str(out)]
    home = {**os.environ, "NEARNORM_HOME": str(tmp_path / "home")}
    process = subprocess.Popen([*command, "--keep", "id"], env=home, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.parquet"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    (out / ".unfinished-of-a-dead-writer").touch()
    assert not (out / MANIFEST).exists()
    for path in out.rglob("*.parquet"):
        assert pq.read_table(path).num_rows == ROWS
    done = subprocess.run(
        [*command, "--keep", "id"], env=home, capture_output=True, text=True, check=True, timeout=60
    )
    assert f"of {DAYS + 40} parts are there already" in done.stderr
    assert f"{DAYS + 40} parts in {out}: {(DAYS + 40) * ROWS:,} rows" in done.stdout
    assert {n: c for n, c in contents(out).items() if n != MANIFEST} == {
        n: c for n, c in contents(tmp_path / "whole").items() if n != MANIFEST
    }

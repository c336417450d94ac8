"""Parts have names by which a later run finds what is done."""

import os
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from nearnorm.batch import BatchScorer, scorer
from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.errors import DataError
from nearnorm.service.batch.parts.plan import plan
from nearnorm.service.batch.parts.rows import open_rows
from tests.service.batch.parts.conftest import DAYS, ROWS, payments


def names(source: object, score: BatchScorer, given: FileFormat = FOUND) -> list[str]:
    return [part.name for part in plan(str(source), score, given)]


def test_a_file_is_a_part_in_its_folder_however_it_is_named(
    lake: Path, score: BatchScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = names(lake, score)
    assert [name.partition("-")[0] for name in expected] == [f"day={day}/a" for day in range(DAYS)]
    assert names(f"{lake}/day=*/*.parquet", score) == names(f"{lake}/", score) == expected
    monkeypatch.chdir(lake.parent)
    assert names("lake", score) == names("./lake/day=*/*", score) == expected
    monkeypatch.chdir(lake)
    assert names(".", score) == names("day=*/*.parquet", score) == expected
    assert names("day=1/a.parquet", score)[0].startswith("a-")


def test_a_name_tells_all_that_a_part_is_made_of(
    lake: Path, score: BatchScorer, other_bundle: Bundle
) -> None:
    one = names(lake / "day=0", score)
    others = [
        msgspec.structs.replace(score, keep=("id",)),
        msgspec.structs.replace(score, verdict=msgspec.structs.replace(score.verdict, threshold=0.9)),
        scorer(other_bundle.path, keep=["id", "day"]),
    ]
    changed = [names(lake / "day=0", other) for other in others]
    changed.append(names(lake / "day=0", score, FileFormat(separator=";")))
    file = lake / "day=0" / "a.parquet"
    os.utime(file, ns=(1, 1))
    changed.append(names(lake / "day=0", score))
    assert len({*map(tuple, changed), tuple(one)}) == len(others) + 3


def test_a_large_file_is_cut_between_its_row_groups(lake: Path, score: BatchScorer) -> None:
    file = lake / "day=0" / "a.parquet"
    group = file.stat().st_size // 4
    parts = plan(str(file), score, FOUND, part_bytes=2 * group)
    assert len(parts) > 1
    found: list[object] = []
    for part in parts:
        with open_rows(part, score, FOUND) as rows:
            assert rows.first == len(found)
            found += [value for batch in rows.batches for value in batch["id"].to_pylist()]
    assert found == pq.read_table(file, columns=["id"])["id"].to_pylist()
    assert len({part.name for part in parts}) == len(parts)
    assert [part.groups for part in plan(str(file), score, FOUND)] == [None]


def test_only_columns_in_use_are_read_and_those_of_folders(lake: Path, score: BatchScorer) -> None:
    (part,) = plan(f"{lake}/day=[2]/*.parquet", score, FOUND)
    with open_rows(part, score, FOUND) as rows:
        (batch,) = rows.batches
    assert set(batch.schema.names) == {"id", "amount", "epoch", "new device", "country", "channel", "day"}
    assert batch.schema.names == rows.schema.names
    assert set(batch["day"].to_pylist()) == {"2"}
    assert len(batch) == ROWS == len(payments(2))


def test_what_cannot_be_read_is_told_when_its_part_is(lake: Path, score: BatchScorer) -> None:
    file = lake / "day=0" / "a.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    (part,) = plan(str(file), score, FOUND, part_bytes=1)
    with (
        pytest.raises(DataError, match=r"a\.parquet cannot be read as parquet"),
        open_rows(part, score, FOUND),
    ):
        pass

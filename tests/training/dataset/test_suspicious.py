from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.suspicious import suspicious

ROWS = 2_000
rng = np.random.default_rng(0)
LABEL: list[int | None] = [1] * 20 + [0] * 20 + [None] * (ROWS - 40)


def warned(folder: Path, label: list[int | None] | None = None, **columns: Any) -> list[str]:
    table = pa.table({"x": rng.normal(size=ROWS), **columns, "label": pa.array(label or LABEL, pa.int8())})
    pq.write_table(table, folder / "data.parquet")
    return list(suspicious(load(str(folder / "data.parquet"), "label")))


def test_ordinary_columns_are_not_suspicious(tmp_path: Path) -> None:
    strong = rng.normal(size=ROWS)
    strong[:20] += 3
    gaps = pa.array(rng.normal(size=ROWS), mask=rng.random(ROWS) < 0.3)
    assert warned(tmp_path, strong=strong, gaps=gaps, kind=rng.choice(["a", "b", "c"], ROWS)) == []


def test_a_column_that_alone_tells_the_labels_is_told_with_the_mend(tmp_path: Path) -> None:
    flag, loss, code = np.zeros(ROWS, int), rng.random(ROWS), np.array(["open", "new"] * (ROWS // 2), object)
    flag[:20], loss[:20], code[:20] = 1, rng.random(20) + 5, "chargeback"
    found = warned(tmp_path, flag=flag, loss=loss, code=code)
    assert [sentence.split("'")[1] for sentence in found] == ["flag", "loss", "code"]
    assert all("alone tells all labelled anomalies" in sentence for sentence in found)
    assert 'set kind = "ignored" in [schema.flag]' in found[0]


def test_a_column_that_is_filled_or_missing_exactly_where_there_are_labels_is_told(tmp_path: Path) -> None:
    values, rows = rng.random(ROWS), np.arange(ROWS)
    found = warned(
        tmp_path,
        closed=pa.array(values, mask=rows >= 20),
        looked_at=pa.array(values, mask=rows >= 40),
        device=pa.array(values, mask=rows < 20),
    )
    assert [sentence.partition(": ")[0] for sentence in found] == [
        "column 'closed' is filled exactly in labelled anomalies",
        "column 'looked_at' is filled exactly in labelled rows",
        "column 'device' is missing exactly in labelled anomalies",
    ]


def test_a_category_in_labelled_anomalies_only_is_told(tmp_path: Path) -> None:
    kind = rng.choice(["a", "b"], ROWS).astype(object)
    kind[:5] = "fraud desk"
    found = warned(tmp_path, kind=kind)
    assert len(found) == 1
    assert "has fraud desk in labelled anomalies only (5 of 20)" in found[0]


def test_few_labelled_anomalies_are_told_apart_by_chance(tmp_path: Path) -> None:
    flag = np.zeros(ROWS, int)
    flag[:9] = 1
    assert warned(tmp_path, [1] * 9 + [None] * (ROWS - 9), flag=flag) == []


def test_contradicting_labels_on_equal_records_are_told(tmp_path: Path) -> None:
    x = rng.normal(size=ROWS)
    x[20:23] = x[:3]
    assert warned(tmp_path, x=x)[0].startswith(
        "3 records are labelled anomaly in one row and normal in another"
    )


def test_a_record_that_stands_a_thousand_times_is_told(tmp_path: Path) -> None:
    x = rng.normal(size=ROWS)
    x[900:] = 1.5
    assert warned(tmp_path, x=x)[0].startswith("one record stands in 1,100 rows (55%)")
    x[900:1200] = rng.normal(size=300)
    assert warned(tmp_path, x=x) == []

"""`nearnorm aggregate` as a user calls it, and what can be wrong with a history."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from nearnorm.models.aggregates.declaration import SECOND
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.aggregate_file import aggregate_file
from nearnorm.service.ledger.database import Ledger, ledger_url
from nearnorm.service.ledger.tables.aggregate_keys import aggregate_keys
from tests.models.aggregates.declarations import payments

NOW = 2_000_000_000 * SECOND
HISTORY: list[dict[str, Any]] = [
    {"payment": "p3", "at": "2026-01-31T10:02:00Z", "card": "0042", "merchant": "x", "amount": 4.0},
    {"payment": "p1", "at": "2026-01-31T10:00:00Z", "card": "0042", "merchant": "x", "amount": 0.1},
    {"payment": "p2", "at": "2026-01-31T10:01:30Z", "card": "0042", "merchant": "y", "amount": 0.2},
    {"payment": "p2", "at": "2026-01-31T10:01:30Z", "card": "0042", "merchant": "y", "amount": 0.2},
    {"payment": "p4", "at": "2026-01-31T10:02:10Z", "card": None, "merchant": "x", "amount": None},
]
COUNTED = {
    "card_count_1m": [1, 0, 0, 0, None],
    "card_amount_1h": [0.1 + 0.2, 0.0, 0.1, 0.1, None],
    "card_merchants_1h": [2, 0, 1, 1, None],
    "card_since": [30.0, None, 90.0, 90.0, None],
    "merchant_count_1h": [1, 0, 0, 0, 2],
}
SCHEMA = pa.schema(
    {
        "payment": pa.string(),
        "at": pa.string(),
        "card": pa.string(),
        "merchant": pa.string(),
        "amount": pa.float64(),
    }
)
TOML = """
[schema.payment]
kind = "id"

[aggregates]
time = "at"
id = "payment"

[aggregates.features]
card_count_1m = { key = "card", window = "1m", function = "count" }
card_amount_1h = { key = "card", window = "1h", function = "sum", of = "amount" }
"""


def written(path: Path, rows: list[dict[str, Any]] = HISTORY) -> Path:
    table = pa.Table.from_pylist(rows)
    (pa_csv.write_csv if path.suffix == ".csv" else pq.write_table)(table, path)
    return path


@pytest.mark.parametrize("given", ["csv", "parquet"])
@pytest.mark.parametrize("made", ["csv", "parquet"])
def test_rows_stay_as_they_are_and_get_their_numbers(tmp_path: Path, given: str, made: str) -> None:
    data, out = written(tmp_path / f"history.{given}"), tmp_path / f"counted.{made}"
    assert aggregate_file(str(data), payments(), out, NOW) == 5
    texts = pa_csv.ConvertOptions(column_types={"card": pa.string()})
    found = pa_csv.read_csv(out, convert_options=texts) if made == "csv" else pq.read_table(out)
    assert found.select(list(COUNTED)).to_pydict() == COUNTED
    assert found.column("card").to_pylist()[:2] == ["0042", "0042"]
    assert found.column("amount").to_pylist() == [row["amount"] for row in HISTORY]
    assert not list(tmp_path.glob(".*"))


def test_files_of_a_folder_are_one_history(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    for i in range(5):
        table = pa.Table.from_pylist(HISTORY[i : i + 1], schema=SCHEMA)
        pq.write_table(table, tmp_path / "lake" / f"{i}.parquet")
    aggregate_file(str(tmp_path / "lake"), payments(), tmp_path / "counted.parquet", NOW)
    assert pq.read_table(tmp_path / "counted.parquet").select(list(COUNTED)).to_pydict() == COUNTED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": "soon"}, "row 2, at: a time such as 2026-01-31T10:00:00Z was expected, not 'soon'"),
        ({"at": None}, "row 2, at: the value is missing"),
        ({"payment": None}, "row 2, payment: the value is missing"),
        ({"amount": 1e301}, "row 2, amount: a number up to 1e\\+300"),
    ],
)
def test_a_row_that_cannot_be_counted_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    data = written(tmp_path / "history.parquet", [HISTORY[0], HISTORY[1] | change])
    with pytest.raises(DataError, match=message):
        aggregate_file(str(data), payments(), tmp_path / "counted.parquet", NOW)
    assert not (tmp_path / "counted.parquet").exists()


def test_a_column_that_is_not_there_or_is_there_already_is_named(tmp_path: Path) -> None:
    data = written(tmp_path / "a.csv", [{k: v for k, v in HISTORY[0].items() if k != "merchant"}])
    with pytest.raises(DataError, match="has no column 'merchant', which \\[aggregates\\] counts from"):
        aggregate_file(str(data), payments(), tmp_path / "out.csv", NOW)
    data = written(tmp_path / "b.csv", [HISTORY[0] | {"card_since": 3}])
    with pytest.raises(DataError, match="has a column 'card_since' already"):
        aggregate_file(str(data), payments(), tmp_path / "out.csv", NOW)


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    data = written(tmp_path / "history.csv")
    with pytest.raises(ConfigError, match="is what is read"):
        aggregate_file(str(data), payments(), data, NOW)
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        aggregate_file(str(data), payments(), tmp_path / "out.txt", NOW)


def test_the_command_tells_what_it_wrote_and_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "schema.toml").write_text(TOML)
    (tmp_path / "none.toml").write_text("[schema.x]\n")
    data = written(tmp_path / "history.csv")

    def aggregate(schema: str, *more: str) -> subprocess.CompletedProcess[str]:
        nearnorm = str(Path(sys.executable).with_name("nearnorm"))
        command = [
            nearnorm,
            "aggregate",
            data,
            "--schema",
            tmp_path / schema,
            "--out",
            tmp_path / "counted.csv",
            *more,
        ]
        environment = os.environ | {"NEARNORM_HOME": str(tmp_path / "home")}
        return subprocess.run(
            [*map(str, command)], capture_output=True, text=True, check=False, env=environment
        )

    (tmp_path / "home").mkdir()
    done = aggregate("schema.toml", "--into", "payments")
    assert done.stdout == f"{tmp_path}/counted.csv: 5 rows, with card_count_1m, card_amount_1h\n", done.stderr
    assert "warning: no model is named 'payments' yet" in done.stderr
    ledger = Ledger(ledger_url(None, tmp_path / "home"))
    with ledger.read() as connection:
        kept = connection.execute(sa.select(aggregate_keys.c.model, aggregate_keys.c.key_column)).all()
    ledger.close()
    assert [tuple(row) for row in kept] == [("payments", "card")]
    assert "--into: '*' cannot be a model's name" in aggregate("schema.toml", "--into", "*").stderr
    refused = aggregate("none.toml")
    assert (refused.returncode, refused.stderr) == (
        2,
        f"nearnorm: {tmp_path}/none.toml has no table [aggregates]: see docs/aggregates.md\n",
    )

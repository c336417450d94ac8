"""`nearnorm score` gives the numbers that the service gives."""

from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.record_batches import BatchScorer
from nearnorm.service.batch.score_file import score_file
from nearnorm.service.verdict.offline import without_ledger

RECORDS = [
    {"amount": 20.0, "epoch": 1_700_000_000, "new device": True, "country": "DE", "channel": "web"},
    {"amount": 900.0, "epoch": None, "new device": False, "country": "Atlantis", "channel": "shop"},
    {"amount": None, "epoch": 1_700_000_000, "new device": None, "country": None, "channel": "web"},
    {"amount": 41.0, "epoch": 1_700_050_000, "new device": None, "country": "7", "channel": "shop"},
]
NUMBERS = ("score", "percentile", "anomaly", "prototype", "distance", "reconstruction_error")


def scored(bundle: Bundle, data: Path, out: Path, *keep: str, allow_missing: bool = True) -> list[str]:
    warnings: list[str] = []
    verdict = without_ledger(bundle.manifest, None)
    scorer = BatchScorer(bundle, verdict, "cpu", None, keep, allow_missing, str(data), warnings.append)
    score_file(scorer, str(data), out)
    return warnings


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_files_scores_are_those_of_the_service(
    client: httpx.Client, bundle: Bundle, tmp_path: Path, ending: str
) -> None:
    table = pa.Table.from_pylist(RECORDS)
    data, out = tmp_path / f"rows.{ending}", tmp_path / f"scores.{ending}"
    if ending == "csv":
        pa_csv.write_csv(table, data)
    else:
        pq.write_table(table, data)
    scored(bundle, data, out)
    found = (pa_csv.read_csv(out) if ending == "csv" else pq.read_table(out)).to_pylist()
    served = client.post("/score", json={"records": RECORDS}).json()["results"]
    assert len(found) == len(served)
    for row, result in zip(found, served, strict=True):
        if "error" in result:
            assert all(row[name] is None for name in NUMBERS)
            assert row["error"].startswith(result["error"]["field"])
        else:
            assert not row["error"]
            assert [row[n] for n in NUMBERS] == pytest.approx([result[n] for n in NUMBERS], rel=1e-5)
    assert [bool(row["error"]) for row in found] == [False, False, True, False]


def test_more_rows_than_a_batch_come_back_in_order(bundle: Bundle, tmp_path: Path) -> None:
    data, out = tmp_path / "rows.parquet", tmp_path / "scores.parquet"
    amounts = [float(i % 97) for i in range(20_000)]
    pq.write_table(pa.table({"amount": amounts, "channel": ["web"] * len(amounts)}), data)
    scored(bundle, data, out)
    scores = pq.read_table(out)["score"].to_pylist()
    assert scores[:97] == pytest.approx(scores[97 * 100 : 97 * 101], rel=1e-5)


def test_what_cannot_be_read_or_written_is_told(bundle: Bundle, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("amount,channel,country\n1,web,DE\n")
    with pytest.raises(DataError, match="cannot be written"):
        scored(bundle, data, tmp_path / "nowhere" / "scores.csv")
    with pytest.raises(DataError, match="does not exist"):
        scored(bundle, tmp_path / "no.csv", tmp_path / "scores.csv")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_kept_columns_stand_before_the_scores_as_they_came(
    bundle: Bundle, tmp_path: Path, ending: str
) -> None:
    data, out = tmp_path / "rows.csv", tmp_path / f"scores.{ending}"
    data.write_text("id,amount,channel,ts\n007,1,web,2026-11-29 09:00\n,900,shop,\n008,,web,now\n")
    scored(bundle, data, out, "ts", "id", "amount", "channel")
    if ending == "csv":
        head, *lines = out.read_text().splitlines()
        assert head.startswith('"ts","id","amount","channel","score","percentile","anomaly"')
        assert lines[0].startswith('"2026-11-29 09:00","007",1,"web",')
        assert lines[1].startswith(',,900,"shop",')
    else:
        rows = pq.read_table(out).to_pylist()
        assert [row["id"] for row in rows] == ["007", None, "008"]
        assert [bool(row["error"]) for row in rows] == [False, False, True]


def test_a_column_that_cannot_be_kept_is_named(bundle: Bundle, tmp_path: Path) -> None:
    data, out = tmp_path / "rows.parquet", tmp_path / "scores.csv"
    pq.write_table(pa.table({"amount": [1.0], "channel": ["web"], "score": [1], "tags": [["a"]]}), data)
    with pytest.raises(DataError, match=r"has no column .when. to keep"):
        scored(bundle, data, out, "when")
    with pytest.raises(ConfigError, match=r"column .score. cannot be kept, as an answer is called so"):
        scored(bundle, data, out, "score")
    with pytest.raises(DataError, match="cannot be written"):
        scored(bundle, data, out, "tags")


def test_a_file_of_something_else_is_scored_only_if_its_user_insists(bundle: Bundle, tmp_path: Path) -> None:
    data, out = tmp_path / "rows.csv", tmp_path / "scores.csv"
    data.write_text("Amount,Channel,x\n1,web,3\n")
    message = r"lacks 5 of 5 columns .*it spells 'Amount' what the model calls 'amount'.*--allow-missing"
    with pytest.raises(DataError, match=message):
        scored(bundle, data, out, allow_missing=False)
    assert not out.exists()
    warnings = scored(bundle, data, out)
    assert "they count as missing in every row" in warnings[0]
    data.write_text("amount,country,epoch,new device\n1,DE,1,true\n")
    with pytest.raises(DataError, match=r"lacks 1 of 5 .*, and 'channel' has to be given"):
        scored(bundle, data, out, allow_missing=False)


def test_the_scores_never_overwrite_what_is_scored(bundle: Bundle, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("amount,channel,country\n1,web,DE\n")
    with pytest.raises(ConfigError, match="is what is read"):
        scored(bundle, data, data)
    assert data.read_text().startswith("amount")


def test_a_european_file_is_scored_as_its_plain_twin(bundle: Bundle, tmp_path: Path) -> None:
    plain, european = tmp_path / "plain.csv", tmp_path / "european.csv"
    plain.write_text("amount,channel,country\n1200.5,web,DE\n3.25,shop,FR\n")
    european.write_bytes("amount;channel;country\r\n1.200,50;web;DE\r\n3,25;shop;FR\r\n".encode("utf-16"))
    scored(bundle, plain, tmp_path / "a.csv")
    scored(bundle, european, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()

"""What nobody has seen alerts, whatever its score, until it is how the traffic is now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.batch.record_batches import BatchScorer
from nearnorm.service.batch.score_file import score_file
from nearnorm.service.settings import Settings
from nearnorm.service.verdict.novelty import ALLOWED
from nearnorm.service.verdict.offline import without_ledger
from tests.service.bundles import SEEN, make_bundle
from tests.service.running import home_with, serving
from tests.service.scoring.test_bulk import ARROW, stream
from tests.service.scoring.test_endpoint import RECORD

EARLY = RECORD | {"epoch": 1.0}  # before anything that training saw
RECORDS = [RECORD, EARLY, RECORD | {"amount": "x"}, RECORD | {"channel": "fax", "epoch": -5.0}]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Bounds so narrow that what is beyond them has an ordinary score."""
    narrow = {**SEEN.numeric, "amount": SEEN.numeric["amount"].model_copy(update={"high": 60.0})}
    seen = SEEN.model_copy(update={"numeric": narrow})
    return make_bundle(tmp_path_factory.mktemp("bundle") / "quiet", seen=seen)


@pytest.fixture
def client(tmp_path: Path, quiet: Bundle) -> Iterator[httpx.Client]:
    with serving(create_app(Settings(home=home_with(tmp_path, quiet)))) as client:
        yield client


def scored(client: httpx.Client, **request: Any) -> Any:
    response = client.post("/score", json=request)
    assert response.status_code == 200, response.text
    return response.json()["results"]


def test_a_novel_value_is_named_and_alerts_whatever_its_score(client: httpx.Client) -> None:
    usual, novel = scored(client, records=[RECORD | {"amount": 55.0}, RECORD | {"amount": 61.0}])
    assert (usual["anomaly"], usual.get("novel")) == (False, None)
    assert (novel["anomaly"], novel["novel"]) == (True, ["amount"])
    assert novel["percentile"] < 99
    assert "event_id" in novel  # what alerts is kept


def test_records_columns_arrow_and_files_say_the_same(
    client: httpx.Client, quiet: Bundle, tmp_path: Path
) -> None:
    rows = scored(client, records=RECORDS)
    assert [row.get("novel") for row in rows] == [
        ["amount"],
        ["amount", "epoch"],
        None,
        ["amount", "epoch", "channel"],
    ]
    assert [row.get("anomaly") for row in rows] == [True, True, None, True]

    columns = scored(client, columns={name: [r[name] for r in RECORDS] for name in RECORD})
    assert columns["novel"] == {"amount": [0, 1, 3], "epoch": [1, 3], "channel": [3]}
    assert columns["anomaly"] == [True, True, None, True]

    table = pa.Table.from_pylist([{**record, "amount": str(record["amount"])} for record in RECORDS])
    answer = client.post("/score", content=stream(table), headers={"Content-Type": ARROW})
    streamed = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    assert [row["novel"] for row in streamed] == [row.get("novel") for row in rows]
    assert [row["anomaly"] for row in streamed] == [row.get("anomaly") for row in rows]

    pq.write_table(table, tmp_path / "rows.parquet")
    data, out = str(tmp_path / "rows.parquet"), tmp_path / "scores.parquet"
    score_file(BatchScorer(quiet, without_ledger(quiet.manifest, None)), data, out)
    written = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert [row["novel"] for row in written] == [
        ", ".join(row["novel"]) if "novel" in row else None for row in rows
    ]
    assert [row["anomaly"] for row in written] == [row.get("anomaly") for row in rows]


def test_a_row_far_from_every_prototype_says_so(client: httpx.Client) -> None:
    (far,) = scored(client, records=[RECORD | {"epoch": 1.7e9 + 86_400 * 1e6}])
    assert (far["novel_distance"], far["anomaly"]) == (True, True)
    columns = scored(
        client, columns={"epoch": [1.7e9, 1.7e9 + 86_400 * 1e6], "amount": [1, 1], "channel": ["web"] * 2}
    )
    assert columns["novel_distance"] == [1]


def test_the_policy_says_whether_it_alerts(client: httpx.Client) -> None:
    assert client.get("/policy").json()["policy"]["alert_on_novel"] is True
    changed = client.put("/policy", json={"alert_on_novel": False})
    assert changed.json()["policy"]["alert_on_novel"] is False
    (novel,) = scored(client, records=[RECORD | {"amount": 61.0}])
    assert (novel["anomaly"], novel["novel"]) == (False, ["amount"])
    client.post("/policy/undo", json={})
    (novel,) = scored(client, records=[RECORD | {"amount": 61.0}])
    assert novel["anomaly"] is True


def test_what_becomes_usual_stops_alerting_and_is_told_as_drift(client: httpx.Client) -> None:
    assert client.get("/drift").json()["novel"] == []
    for _ in range(ALLOWED + 1):
        assert scored(client, records=[RECORD | {"amount": 61.0}])[0]["anomaly"] is True
    ceased, other = scored(client, records=[RECORD | {"amount": 61.0}, EARLY | {"amount": 50.0}])
    assert (ceased["anomaly"], ceased["novel"]) == (False, ["amount"])
    assert (other["anomaly"], other["novel"]) == (True, ["epoch"])

    drift = client.get("/drift").json()
    amount = next(signal for signal in drift["novel"] if signal["name"] == "amount")
    assert (amount["rows"], amount["window"]) == (ALLOWED + 2, ALLOWED + 3)
    assert amount["ceased_since"]
    assert drift["drifting"] is True
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert any("amount" in problem and "retrain" in problem for problem in ready.json()["problems"])
    metrics = client.get("/metrics").text
    assert 'nearnorm_novelty_ceased{model="default",signal="amount"} 1.0' in metrics
    assert 'nearnorm_novelty_ceased{model="default",signal="epoch"} 0.0' in metrics
    assert 'nearnorm_novel_ratio{model="default",signal="amount"}' in metrics

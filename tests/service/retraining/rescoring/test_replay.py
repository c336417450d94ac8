"""`nearnorm replay`: what a challenger would say otherwise of kept events, and of those that analysts
judged. On both databases."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.settings import Settings
from tests.service.asking import label, stored
from tests.service.bundles import make_bundle
from tests.service.commands import Command
from tests.service.waiting import logged, until

RECORDS = 300


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its prototypes lie elsewhere, so that it judges differently."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "challenger", seed=6)


@pytest.fixture
def version(settings: Settings, client: httpx.Client, challenger: Bundle) -> str:
    """In the store, and not serving, beside a service that has scored records at a budget of 5%."""
    client.put("/policy", json={"budget": "5%"}).raise_for_status()
    amounts = np.random.default_rng(0).normal(50, 40, RECORDS).tolist()
    records = [{"amount": amount, "country": "DE", "channel": "web"} for amount in amounts]
    results = client.post("/score", json={"records": records}).json()["results"]
    until(lambda: logged(client))
    alerts = [row["event_id"] for row in results if row["anomaly"]]
    others = [row["event_id"] for row in results if not row["anomaly"]]
    said = [{"event_id": name, "label": "anomaly"} for name in (*alerts[:10], *others[:10])]
    said += [{"event_id": name, "label": "normal"} for name in (*alerts[10:15], *others[10:20])]
    stored(label(client, *(one | {"analyst": "mei"} for one in said)))
    return settings.open_store().publish(challenger.path)


def test_alerts_up_and_down_and_flips_of_confirmed_records_are_counted(
    nearnorm: Command, client: httpx.Client, version: str, tmp_path: Path
) -> None:
    out = tmp_path / "rows.parquet"
    done = nearnorm("replay", version[:12], "--json", "--out", out)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    rows = pq.read_table(out).to_pylist()
    assert found["version"] == version
    assert found["rows"] == found["traffic"]["of"] == len(rows) == RECORDS
    for name, judged in (("traffic", None), ("anomalies", "anomaly"), ("normals", "normal")):
        these = [row for row in rows if judged is None or row["label"] == judged]
        was, now = ([row[field] for row in these] for field in ("anomaly", "new_anomaly"))
        up = sum(b and not a for a, b in zip(was, now, strict=True))
        down = sum(a and not b for a, b in zip(was, now, strict=True))
        expected = {"of": len(these), "before": sum(was), "after": sum(now), "up": up, "down": down}
        assert found[name] == expected
    assert found["anomalies"]["of"] == 20
    assert found["normals"]["of"] == 15
    flipped = {row["event_id"]: row for row in rows if row["label"] and row["anomaly"] != row["new_anomaly"]}
    assert flipped
    assert {flip["event_id"] for flip in found["flips"]} == flipped.keys()
    for flip in found["flips"]:
        row = flipped[flip["event_id"]]
        assert (flip["label"], flip["anomaly_before"]) == (row["label"], row["anomaly"])
        assert flip["percentile_after"] == pytest.approx(row["new_percentile"], abs=1e-3)
    assert client.get("/readyz").json()["models"] != [version]  # it does not serve for that


def test_a_person_reads_a_table_and_which_confirmed_records_turn_wrong(
    nearnorm: Command, version: str
) -> None:
    done = nearnorm("replay", version[:12])
    found: dict[str, Any] = json.loads(nearnorm("replay", version[:12], "--json").out)
    lines = done.out.splitlines()
    assert lines[0] == f"version {version}: {RECORDS} rows that were answered before"
    [traffic] = [line.split() for line in lines if line.startswith("traffic")]
    counts = found["traffic"]
    assert [int(cell) for cell in traffic[1:]] == [
        counts["of"],
        counts["before"],
        counts["after"],
        counts["up"],
        -counts["down"],
    ]
    wrong = [line.split()[-1] for line in lines if line.startswith("  WRONG")]
    assert wrong == [
        flip["event_id"] for flip in found["flips"] if flip["anomaly_after"] != (flip["label"] == "anomaly")
    ]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (("--out", "rows.json"), "must end in .csv or .parquet"),
        (("--brokers", "b:9092"), "--brokers, --in and --answered go together"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    nearnorm: Command, version: str, told: tuple[str, ...], says: str
) -> None:
    done = nearnorm("replay", version[:12], *told)
    assert done.code == 2
    assert says in done.err

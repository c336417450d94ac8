"""A file that is scored offline and the same rows over HTTP get the same verdict, whatever decides it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.models.errors import ConfigError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.cli.main import cli
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import policy
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.traffic import score_bins
from tests.service.running import home_with, serving
from tests.training.conftest import SAMPLES

STARTER = read_bundle(Path(str(resources.files("nearnorm.models") / "starter")))
FIELDS = ("score", "percentile", "anomaly")
ARROW = "application/vnd.apache.arrow.stream"


def shuttle(rows: int) -> pa.Table:
    return pq.read_table(SAMPLES / "shuttle_held_out.parquet").drop_columns(["label"]).slice(0, rows)


def payments(rows: int) -> pa.Table:
    """Of every kind: missing numbers, unknown categories, amounts beyond all that training saw."""
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "amount": rng.lognormal(4, 1.5, rows),
            "epoch": pa.array(1.7e9 + 86_400 * rng.normal(size=rows), mask=rng.random(rows) < 0.1),
            "new device": rng.random(rows) < 0.5,
            "country": rng.choice(["DE", "FR", "7", "Atlantis"], rows),
            "channel": rng.choice(["web", "shop"], rows),
        }
    )


class Place:
    """A home with one champion, a service of it, and its command line."""

    def __init__(self, folder: Path, bundle: Bundle, client: httpx.Client) -> None:
        self.folder, self.bundle, self.client = folder, bundle, client
        self.home = folder / "home"

    def offline(self, rows: pa.Table, *words: str) -> tuple[list[dict[str, Any]], str]:
        """The file's verdicts, and the sentence that says by what."""
        data, out = self.folder / "rows.parquet", self.folder / "scores.parquet"
        pq.write_table(rows, data)
        told = ran(self.home, "score", str(self.bundle.path), str(data), "--out", str(out), *words)
        return pq.read_table(out).select(FIELDS).to_pylist(), told

    def online(self, rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
        """The same rows by every way in."""
        records = self.client.post("/score", json={"records": rows.to_pylist()}).json()["results"]
        columns = self.client.post("/score", json={"columns": rows.to_pydict()}).json()["results"]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        answer = self.client.post(
            "/score", content=sink.getvalue().to_pybytes(), headers={"Content-Type": ARROW}
        )
        streamed = pa.ipc.open_stream(answer.content).read_all().select(FIELDS).to_pylist()
        by_row = zip(*(columns[name] for name in FIELDS), strict=True)
        return {
            "records": [{name: row[name] for name in FIELDS} for row in records],
            "columns": [dict(zip(FIELDS, row, strict=True)) for row in by_row],
            "arrow": streamed,
        }

    def agrees(self, rows: pa.Table) -> tuple[int, str]:
        """How many rows are anomalies, by all of them alike, and what said so."""
        policy = self.client.get("/policy").json()["policy"]
        offline, told = self.offline(rows)
        assert f"a score of {policy['threshold']!r} or more is an anomaly" in told
        assert f"policy {policy['version']} " in told or (policy["default"] and "default policy" in told)
        for found in self.online(rows).values():
            assert found == offline
        by_score = sum(row["score"] >= policy["threshold"] for row in offline)
        found = sum(row["anomaly"] for row in offline)
        assert 0 < by_score <= found < rows.num_rows
        return found, told


def ran(home: Path, *words: str) -> str:
    result = CliRunner().invoke(cli, words, env={"NEARNORM_HOME": str(home)})
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.stdout


@contextmanager
def serving_one(folder: Path, bundle: Bundle) -> Iterator[Place]:
    home = home_with(folder / "home", bundle)
    with serving(create_app(Settings(home=home))) as client:
        yield Place(folder, bundle, client)


@pytest.fixture(params=["starter", "payments"])
def place(request: pytest.FixtureRequest, tmp_path: Path, bundle: Bundle) -> Iterator[Place]:
    with serving_one(tmp_path, STARTER if request.param == "starter" else bundle) as place:
        yield place


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Place]:
    """A newcomer's: the starter serves."""
    with serving_one(tmp_path, STARTER) as place:
        yield place


def rows_for(place: Place) -> pa.Table:
    return shuttle(700) if place.bundle is STARTER else payments(700)


def put(place: Place, **change: Any) -> None:
    place.client.put("/policy", json=change).raise_for_status()


def test_by_the_default_policy_a_share_and_without_novelty(place: Place) -> None:
    rows = rows_for(place)
    few, told = place.agrees(rows)
    assert "default policy" in told
    put(place, budget="20%")
    many, told = place.agrees(rows)
    assert 'policy 1 ("20%") of model default' in told
    assert many > few
    assert "novel" in told
    put(place, alert_on_novel=False)
    assert "novel" not in place.agrees(rows)[1]


def test_by_a_number_a_day_that_is_solved_from_traffic(place: Place) -> None:
    rows = rows_for(place)
    scores = np.array([row["score"] for row in place.offline(rows)[0]], np.float32)
    bins = score_bins.count(scores)
    sketch = {int(at): float(bins[at]) for at in np.flatnonzero(bins)}
    now = now_ms() // 3_600_000
    ledger = Ledger.at(None, place.home)
    with ledger.write() as connection:
        version = place.bundle.version
        hours = [
            Counted("default", now - back, version, "app", 700, 5, 0, 0, 0, sketch) for back in range(1, 200)
        ]
        traffic.put(connection, "w", hours)
    ledger.close()
    put(place, budget="480 a day")
    found, told = place.agrees(rows)
    assert 'policy 1 ("480 a day")' in told
    # what the policy came to is what --budget comes to
    again, told_again = place.offline(rows, "--budget", "480 a day")
    assert re.findall(r"a score of \S+", told_again) == re.findall(r"a score of \S+", told)
    assert sum(row["anomaly"] for row in again) == found


def test_by_a_reference_that_people_have_reviewed(tmp_path: Path, bundle: Bundle) -> None:
    with serving_one(tmp_path, bundle) as place:
        ledger = Ledger.at(None, place.home)
        with ledger.write() as connection:
            reference_rows.put(connection, bundle.version, read_review(bundle.path, bundle.manifest.core))
        ledger.close()
        before = place.client.get("/policy").json()["policy"]["threshold"]
        offered = place.client.get("/queue", params={"limit": 20}).json()["queue"]
        labels = [{"event_id": item["event_id"], "label": "anomaly"} for item in offered]
        place.client.post("/feedback", json={"labels": labels}).raise_for_status()
        assert place.client.get("/policy").json()["policy"]["threshold"] < before
        place.agrees(rows_for(place))


def test_a_bundle_that_serves_nowhere_is_judged_by_a_share_of_its_own_reference(tmp_path: Path) -> None:
    rows, out, nowhere = tmp_path / "rows.parquet", tmp_path / "scores.csv", tmp_path / "nowhere"
    pq.write_table(shuttle(300), rows)
    words = ("score", str(STARTER.path), str(rows), "--out", str(out))
    default = ran(nowhere, *words)
    assert default.startswith("by the default policy, 1% of normal: a score of 0.")
    assert ran(nowhere, *words, "--budget", "20% of normal") > 'by --budget "20% of normal": a score of 0.'
    with pytest.raises(ConfigError, match="is solved from traffic or verdicts"):
        ran(nowhere, *words, "--budget", "40 a day")
    with pytest.raises(ConfigError, match="reference rows"):
        ran(nowhere, *words, "--budget", "0.0001%")
    with pytest.raises(ConfigError, match="is no budget"):
        ran(nowhere, *words, "--budget", "much")
    assert not nowhere.exists()


def test_a_number_a_day_without_traffic_is_refused_in_one_sentence(place: Place) -> None:
    with pytest.raises(ConfigError, match="no traffic has been seen yet"):
        place.offline(rows_for(place), "--budget", "40 a day")


def test_a_policy_belongs_to_models_of_the_same_columns_and_comes_back_with_them(
    first: Place, bundle: Bundle, other_bundle: Bundle
) -> None:
    put(first, budget="2%")
    store = ModelStore(first.home / "models")

    def activated(version: str) -> dict[str, Any]:
        first.client.post(f"/models/{version}/activate").raise_for_status()
        return in_force()

    def in_force() -> dict[str, Any]:
        found: dict[str, Any] = first.client.get("/policy").json()["policy"]
        return found

    another = activated(store.publish(bundle.path))
    assert (another["default"], another["version"], another["budget"]) == (True, 0, "1%")
    put(first, budget="3%")
    same_columns = activated(store.publish(other_bundle.path))
    assert (same_columns["default"], same_columns["version"], same_columns["budget"]) == (False, 2, "3%")
    assert first.client.post("/policy/undo").json()["policy"]["budget"] == "1%"
    first.client.post("/models/rollback").raise_for_status()
    first.client.post("/models/rollback").raise_for_status()
    assert (in_force()["version"], in_force()["budget"]) == (1, "2%")
    told = ran(first.home, "models", "activate", bundle.version)
    assert 'policy 3 is in force: "1%"' in told


def test_activating_another_model_says_that_the_policy_stays_behind(first: Place, bundle: Bundle) -> None:
    put(first, budget="2%")
    ran(first.home, "models", "import", str(bundle.path))
    told = ran(first.home, "models", "activate", bundle.version)
    assert 'the default policy is in force: "1%"; policy 1 ("2%") was set for a model of other' in told
    assert 'policy 1 is in force: "2%"' in ran(first.home, "models", "rollback")


def test_a_retraining_on_other_columns_goes_on_with_its_champions_policy(first: Place) -> None:
    put(first, budget="2%")
    before, after = STARTER.manifest.core.features.line, "after"
    ledger = Ledger.at(None, first.home)
    for _ in range(2):  # a worker may repeat it
        with ledger.write() as connection:
            policies.go_on(connection, "default", before, after, "job")
    with ledger.read() as connection:
        found = policy.current(connection, "default", after)
    ledger.close()
    assert found is not None
    assert (found.version, found.budget, found.actor, found.line) == (2, "2%", "job", after)
    assert first.client.get("/policy").json()["policy"]["version"] == 1

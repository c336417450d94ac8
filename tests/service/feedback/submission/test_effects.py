"""POST /feedback with `preview`: what labels would do, told before anything is stored, on both databases."""

from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, mistakes, problem, score, stored
from tests.service.waiting import logged, until


def preview(client: httpx.Client, *labels: Any) -> dict[str, Any]:
    answer = client.post("/feedback", json={"labels": list(labels), "preview": True})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["preview"]
    return found


def test_a_preview_stores_nothing(client: httpx.Client) -> None:
    event_id = score(client, STRANGE)["event_id"]
    item = {"event_id": event_id, "label": "anomaly", "analyst": "ann"}
    assert preview(client, item)["retraining"] == {"new_labels": 1, "triggers_at": 20, "left": 19}
    assert "matched_feedback" not in score(client, STRANGE)
    assert not [e for e in client.get("/audit").json()["audit"] if e["action"] == "label"]
    assert label(client, item).json()["retraining"] == {"new_labels": 1, "triggers_at": 20}


def test_it_tells_when_a_job_would_begin(client: httpx.Client) -> None:
    strange = [{"record": STRANGE | {"amount": 900.0 + i}, "label": "anomaly"} for i in range(20)]
    stored(label(client, *strange[:18]))
    assert preview(client, strange[18])["retraining"]["left"] == 1
    assert preview(client, *strange[18:])["retraining"]["left"] == 0
    assert client.get("/jobs").json()["jobs"] == []


def test_it_tells_what_waits_for_a_second_opinion_what_was_judged_and_what_others_hold(
    client: httpx.Client,
) -> None:
    low = score(client, RECORD)["event_id"]
    judged = score(client, STRANGE)["event_id"]
    held = score(client, STRANGE | {"amount": 901.0})["event_id"]
    stored(label(client, {"event_id": judged, "label": "anomaly", "analyst": "bob"}))
    until(lambda: logged(client))
    claimed = client.post("/claims", json={"analyst": "bob", "limit": 200}).json()["claims"]
    assert held in [claim["event_id"] for claim in claimed]
    client.post("/claims/release", json={"analyst": "bob", "event_ids": [low]})
    said = [{"event_id": id_, "label": "anomaly", "analyst": "ann"} for id_ in (low, judged, held)]
    found = preview(client, *said)
    assert (found["records"], found["second_opinion"], found["judged"], found["held"]) == (3, [0], [1], [2])
    own = preview(client, said[2] | {"analyst": "bob"})
    assert own["held"] == []
    assert held in [
        one["event_id"] for one in client.post("/claims", json={"analyst": "bob"}).json()["claims"]
    ]


def test_it_counts_the_events_of_equal_records(client: httpx.Client) -> None:
    ids = [score(client, record)["event_id"] for record in (STRANGE, STRANGE, RECORD)]
    until(lambda: logged(client))
    assert preview(client, {"event_id": ids[0], "label": "anomaly"})["equal"] == {"events": 2, "alerts": 2}
    assert preview(client, {"event_id": ids[2], "label": "normal"})["equal"] == {"events": 1, "alerts": 0}


def test_it_tells_how_many_alerts_a_row_of_the_reference_stands_for(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    """The highest row leaves: the threshold falls to the one below, and rows between them would alert."""
    with ledger.write() as connection:
        reference_rows.put(connection, payments.version, read_review(payments.path, payments.manifest.core))
    queue = client.get("/queue?limit=50").json()["queue"]
    rows = [item for item in queue if item["why"] == "reference"]
    scores = payments.manifest.core.reference.scores
    said = [{"event_id": row["event_id"], "label": "anomaly"} for row in rows]
    policy = client.get("/policy").json()["policy"]
    between = {"records": [row["record"] for row in rows]}
    client.post("/score", json=between)
    until(lambda: logged(client))
    found = preview(client, *said)
    assert found["reference"] == {"leave": len(rows), "back": 0}
    threshold = found["alerts"]["threshold"]
    assert threshold["now"] == policy["threshold"]
    assert threshold["then"] < threshold["now"] <= scores[-1]
    assert preview(client, said[0] | {"label": "normal"})["reference"] == {"leave": 0, "back": 0}
    ids = stored(label(client, *said))
    until(lambda: client.get("/policy").json()["policy"]["threshold"] == threshold["then"])
    back = preview(client, *({"retract": id_} for id_ in ids))
    assert back["reference"] == {"leave": 0, "back": len(rows)}
    assert back["alerts"]["threshold"] == {"now": threshold["then"], "then": threshold["now"]}


def test_it_counts_the_rows_of_the_week_between_the_thresholds(
    client: httpx.Client, ledger: Ledger, payments: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearnorm.service.feedback.submission.effects.TRAFFIC_SECONDS", 0.0)
    with ledger.write() as connection:
        reference_rows.put(connection, payments.version, read_review(payments.path, payments.manifest.core))
    rows = [i for i in client.get("/queue?limit=50").json()["queue"] if i["why"] == "reference"]
    said = [{"event_id": row["event_id"], "label": "anomaly"} for row in rows]
    client.post("/score", json={"records": [row["record"] for row in rows] * 4})

    def more() -> int:
        count: int = preview(client, *said)["alerts"]["more"]
        return count

    until(lambda: more() > 0)  # traffic is counted every two seconds
    threshold = preview(client, *said)["alerts"]["threshold"]
    between = [row for row in rows if threshold["then"] <= row["score"] < threshold["now"]]
    assert more() == pytest.approx(4 * len(between), abs=4)  # the threshold's own bin is divided


def test_what_would_be_refused_is_refused(client: httpx.Client, settings: Settings) -> None:
    body = {"labels": [{"event_id": "nobody", "label": "anomaly"}], "preview": True}
    assert mistakes(client.post("/feedback", json=body)) == [(0, "unknown-event", "event_id")]
    problem(client.post("/feedback", json={"labels": [{}], "preview": 1}), 422, "invalid-request")

"""A label that contradicts the model acts on its own record, and trains nothing until it is confirmed."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from nearnorm.models.data.digest import record_digest
from nearnorm.service.feedback.submission.resolve import Bound
from nearnorm.service.feedback.submission.second_opinion import BURST, NORMAL_FROM, Opinion, weigh
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import audit_trail, snapshot
from nearnorm.service.ledger.tables.feedback import labels, second_opinions
from nearnorm.service.ledger.tables.feedback.analysts import tallies
from nearnorm.service.retraining.jobs import requests
from tests.service.asking import RECORD, STRANGE, label, score, stored

BELOW = 95.0


def said(record: dict[str, Any], what: str, actor: str = "mine", analyst: str = "ann") -> Bound:
    return Bound(
        Label(
            new_id(), now_ms(), "default", record_digest(record), what, record, analyst=analyst, actor=actor
        )
    )


def sent(ledger: Ledger, *bound: Bound, percentile: float = 30.0, operates: bool = False) -> None:
    """As POST /feedback does, where the model says `percentile` of every record."""

    def judge(of: Sequence[Label]) -> dict[str, Opinion]:
        return {one.digest: Opinion(0.1, percentile, 0, "v") for one in of}

    with ledger.write() as connection:
        change = tick(connection, "labels")
        labels.append(connection, change, [one.label for one in bound])
        weigh(connection, change, bound, BELOW, judge, operates)


def counts(ledger: Ledger) -> tuple[int, int, int]:
    """Records that wait, that a job would read anew, and that it would train on."""
    with ledger.read() as connection:
        trained = snapshot.read(connection, "default", "v", 10).verdicts
        unread = requests.unread(connection, "default").records
        return second_opinions.count(connection, "default"), unread, len(trained)


def test_such_a_label_is_told_acts_at_once_is_offered_again_and_one_word_more_confirms_it(
    client: httpx.Client,
) -> None:
    answer = label(client, {"record": RECORD, "label": "anomaly"})
    feedback_id = stored(answer)[0]
    assert answer.json()["receipts"][0]["status"] == "second_opinion"
    assert answer.json()["retraining"] == {"new_labels": 0, "triggers_at": 20, "waiting": 1}
    assert client.get(f"/feedback/{feedback_id}").json()["status"] == "second_opinion"
    assert score(client, RECORD)["matched_feedback"] == {"feedback_id": feedback_id, "label": "anomaly"}

    first = client.get("/queue").json()["queue"][0]
    assert (first["why"], first["said"], first["event_id"]) == ("second_opinion", "anomaly", feedback_id)
    assert first["percentile"] < BELOW
    assert first["record"]["amount"] == RECORD["amount"]

    again = label(client, {"event_id": first["event_id"], "label": "anomaly"})
    assert again.json()["receipts"][0]["status"] == "stored"
    assert again.json()["retraining"] == {"new_labels": 1, "triggers_at": 20}
    assert client.get(f"/feedback/{feedback_id}").json()["status"] == "superseded"
    assert not [one for one in client.get("/queue").json()["queue"] if one["why"] == "second_opinion"]


def test_what_the_model_finds_strange_too_waits_for_nobody(client: httpx.Client) -> None:
    answer = label(client, {"event_id": score(client, STRANGE)["event_id"], "label": "anomaly"}).json()
    assert answer["receipts"][0]["status"] == "stored"
    assert answer["retraining"]["new_labels"] == 1


@pytest.mark.parametrize(
    ("what", "percentile", "waits"),
    [
        ("anomaly", BELOW - 0.1, True),
        ("anomaly", BELOW, False),
        ("normal", NORMAL_FROM, True),
        ("normal", NORMAL_FROM - 0.01, False),
    ],
)
def test_a_label_waits_where_the_model_strongly_says_the_opposite(
    ledger: Ledger, what: str, percentile: float, waits: bool
) -> None:
    sent(ledger, said(RECORD, what), percentile=percentile)
    assert counts(ledger) == ((1, 0, 0) if waits else (0, 1, 1))


def test_who_is_alone_confirms_when_asked_again_and_not_in_the_same_breath(ledger: Ledger) -> None:
    first = said(RECORD, "anomaly")
    sent(ledger, first, said(RECORD, "anomaly"))
    assert counts(ledger) == (1, 0, 0)
    sent(ledger, said(RECORD, "anomaly"))
    assert counts(ledger) == (0, 1, 1)


def test_where_another_key_labels_too_the_same_key_confirms_nothing_under_whatever_name(
    ledger: Ledger,
) -> None:
    sent(ledger, said(STRANGE, "anomaly", actor="other", analyst="bob"), percentile=99.0)
    sent(ledger, said(RECORD, "anomaly", actor="mine", analyst="eve"))
    sent(ledger, said(RECORD, "anomaly", actor="mine", analyst="eve's other name"))
    assert counts(ledger)[0] == 1
    sent(ledger, said(RECORD, "anomaly", actor="other", analyst="bob"))
    assert counts(ledger) == (0, 2, 2)


def test_under_the_only_key_another_analyst_confirms_and_the_same_one_does_not(ledger: Ledger) -> None:
    sent(ledger, said(STRANGE, "anomaly", analyst="bob"), percentile=99.0)
    sent(ledger, said(RECORD, "anomaly", analyst="ann"))
    sent(ledger, said(RECORD, "anomaly", analyst="ann"))
    assert counts(ledger)[0] == 1
    sent(ledger, said(RECORD, "anomaly", analyst="bob"))
    assert counts(ledger)[0] == 0


def test_a_key_that_may_operate_confirms(ledger: Ledger) -> None:
    sent(ledger, said(STRANGE, "anomaly", actor="other"), percentile=99.0)
    sent(ledger, said(RECORD, "anomaly"))
    sent(ledger, said(RECORD, "anomaly"), operates=True)
    assert counts(ledger) == (0, 2, 2)


def test_what_is_confirmed_after_a_job_has_read_past_it_is_new_to_the_next(ledger: Ledger) -> None:
    from nearnorm.service.ledger.tables import jobs

    sent(ledger, said(RECORD, "anomaly"))
    with ledger.write() as connection:
        job = requests.request(connection, "default", requests.Rule(20, 0), "test")
        assert jobs.take(connection, job, "w", now_ms(), now_ms() + 1_000)
        jobs.renew(connection, job.job_id, "w", now_ms() + 1_000, watermark=tick(connection, "labels"))
        jobs.end(connection, job.job_id, "w", "succeeded", now_ms(), [])
    assert counts(ledger)[1] == 0
    sent(ledger, said(RECORD, "anomaly"))
    assert counts(ledger) == (0, 1, 1)


def test_what_its_labeller_corrects_waits_no_more(ledger: Ledger) -> None:
    sent(ledger, said(RECORD, "anomaly"))
    sent(ledger, said(RECORD, "normal"))
    assert counts(ledger) == (0, 1, 1)


def test_a_burst_of_one_key_is_in_the_trail_once(ledger: Ledger) -> None:
    many = [said(RECORD | {"amount": float(i)}, "anomaly") for i in range(BURST + 5)]
    sent(ledger, *many[: BURST - 1])
    sent(ledger, *many[BURST - 1 :])
    with ledger.read() as connection:
        told = [
            entry
            for entry in audit_trail.page(connection, 50, None, EVERY_LINE)
            if entry["action"] == "second_opinion.burst"
        ]
    assert [(entry["actor"], entry["detail"]["records"]) for entry in told] == [("mine", BURST + 5)]


def test_the_track_record_of_a_labeller_tells_what_was_confirmed_of_what_contradicted_the_model(
    ledger: Ledger,
) -> None:
    other = {**RECORD, "amount": 4.0}
    sent(ledger, said(RECORD, "anomaly", analyst="eve"), said(other, "anomaly", analyst="eve"))
    sent(ledger, said({**RECORD, "amount": 5.0}, "anomaly", analyst="ann"), percentile=99.0)
    sent(ledger, said(RECORD, "anomaly", actor="other", analyst="bob"))
    with ledger.read() as connection:
        found = tallies(connection, 10, 0)
    assert [(tally.analyst, tally.doubted, tally.confirmed) for tally in found] == [
        ("eve", 2, 1),
        ("ann", 0, 0),
        ("bob", 0, 0),
    ]

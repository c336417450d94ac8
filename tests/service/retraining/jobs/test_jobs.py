"""Jobs in the ledger: when one is due, who may take it, and what it waits for. On both databases."""

import threading
from typing import Any

import httpx
import pytest

from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import RELEASE, Rule
from nearnorm.service.retraining.jobs.turns import GREETED, next_job
from nearnorm.service.settings import Settings

RULE = Rule(after=3, pause=0)
LEASE = 10_000


def asked(ledger: Ledger, model: str = "default") -> Job:
    with ledger.write() as connection:
        return requests.request(connection, model, RULE, "test")


def take(ledger: Ledger, worker: str, now: int | None = None) -> Job | None:
    now = now_ms() if now is None else now
    with ledger.write() as connection:
        found = next_job(connection, RELEASE, now, worker)
        if found is None or not jobs.take(connection, found, worker, now, now + LEASE):
            return None
        return jobs.find(connection, found.job_id)


def end(ledger: Ledger, job: Job, worker: str, state: jobs.State = "failed") -> bool:
    with ledger.write() as connection:
        return jobs.end(connection, job.job_id, worker, state, now_ms(), ["because"])


def test_one_job_of_a_model_waits_however_many_ask_at_once(ledger: Ledger) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(asked(ledger).job_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert asked(ledger, "other").job_id not in found


def test_only_one_worker_gets_a_job(ledger: Ledger) -> None:
    job = asked(ledger)
    taken: list[Job | None] = []
    threads = [threading.Thread(target=lambda n=n: taken.append(take(ledger, f"w{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.job_id for one in taken if one] == [job.job_id]


def test_a_second_job_waits_while_one_of_its_model_runs(ledger: Ledger) -> None:
    first = asked(ledger)
    assert take(ledger, "a")
    second = asked(ledger)
    assert second.job_id != first.job_id
    assert take(ledger, "b") is None
    with ledger.read() as connection:
        waits = requests.waits_for(connection, second)
    assert waits is not None
    assert first.job_id in waits
    end(ledger, first, "a")
    following = take(ledger, "b")
    assert following is not None
    assert following.job_id == second.job_id


def test_a_job_whose_worker_is_silent_is_taken_by_another_and_lost_to_the_first(ledger: Ledger) -> None:
    job = asked(ledger)
    now = now_ms()
    assert take(ledger, "a", now)
    assert take(ledger, "b", now + LEASE - 1) is None
    again = take(ledger, "b", now + LEASE + 1)
    assert again is not None
    assert again.attempts == 2
    with ledger.write() as connection:
        assert jobs.renew(connection, job.job_id, "a", now + 2 * LEASE, stage="fit") is None
        assert jobs.renew(connection, job.job_id, "b", now + 2 * LEASE, stage="fit") is not None
    assert not end(ledger, job, "a", "succeeded")
    assert end(ledger, job, "b", "succeeded")


def test_a_job_handed_back_is_taken_at_once_and_counts_no_attempt(ledger: Ledger) -> None:
    job = asked(ledger)
    assert take(ledger, "a")
    with ledger.write() as connection:
        jobs.hand_back(connection, job.job_id, "a")
    again = take(ledger, "b")
    assert again is not None
    assert again.attempts == 1


def test_a_job_of_a_newer_release_is_not_taken_and_says_what_it_waits_for(ledger: Ledger) -> None:
    job = asked(ledger)
    with ledger.write() as connection:
        connection.execute(jobs.jobs.update().values(release="9.9"))
        jobs.greet(connection, "a", RELEASE, now_ms(), 0)
        waiting = jobs.find(connection, job.job_id)
        assert waiting is not None
        assert requests.waits_for(connection, waiting) == (
            f"a worker of release 9.9 or newer: those here are of {RELEASE}"
        )
    assert take(ledger, "a") is None


def test_a_job_that_waited_through_an_upgrade_is_taken(ledger: Ledger) -> None:
    job = asked(ledger)
    with ledger.write() as connection:
        connection.execute(jobs.jobs.update().values(release="0.0.9"))
        jobs.greet(connection, "a", RELEASE, now_ms(), 0)
        waiting = jobs.find(connection, job.job_id)
        assert waiting is not None
        assert requests.waits_for(connection, waiting) == "a worker that is free"
    assert take(ledger, "a")


def test_without_a_worker_a_job_says_that_it_waits_for_one(ledger: Ledger) -> None:
    job = asked(ledger)
    with ledger.write() as connection:
        jobs.greet(connection, "gone", RELEASE, now_ms() - GREETED - 1, 0)
        waits = requests.waits_for(connection, job)
    assert waits is not None
    assert "nearnorm worker" in waits


def test_a_pause_is_kept_between_jobs_that_labels_make_due(ledger: Ledger) -> None:
    job = asked(ledger)
    taken = take(ledger, "a")
    assert taken
    ended = now_ms()
    end(ledger, job, "a")
    with ledger.write() as connection:
        rule = Rule(after=0, pause=60_000)
        told = requests.labelled(connection, "default", rule, "test")
        waiting = jobs.find(connection, told["job_id"])
        assert waiting is not None
        waits = requests.waits_for(connection, waiting)
    assert ended + 60_000 <= waiting.not_before
    assert waits is not None
    assert waits.startswith("the pause between trainings")
    assert take(ledger, "a") is None


def test_drift_retrains_a_version_once_whichever_replica_sees_it(ledger: Ledger) -> None:
    with ledger.write() as connection:
        first = requests.drifted(connection, "default", "v1", RULE)
    taken = take(ledger, "a")
    assert first
    assert taken
    with ledger.write() as connection:
        jobs.renew(connection, taken.job_id, "a", now_ms() + LEASE, champion="v1")
    end(ledger, taken, "a", "refused")
    with ledger.write() as connection:
        assert requests.drifted(connection, "default", "v1", RULE) is None
        assert requests.drifted(connection, "default", "v2", RULE)


def records(count: int) -> list[dict[str, Any]]:
    return [{"amount": float(i), "channel": "web"} for i in range(count)]


def label(client: httpx.Client, *numbers: int) -> dict[str, Any]:
    items = [{"record": record, "label": "normal"} for record in records(100)]
    sent = {"labels": [items[number] for number in numbers]}
    found: dict[str, Any] = client.post("/feedback", json=sent).raise_for_status().json()["retraining"]
    return found


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retrain_after": 3})


def test_the_label_that_makes_it_enough_makes_the_job_in_its_own_transaction(client: httpx.Client) -> None:
    assert label(client, 0, 1) == {"new_labels": 2, "triggers_at": 3}
    told = label(client, 2)
    assert told["new_labels"] == 3
    job = client.get(f"/jobs/{told['job_id']}").json()
    assert job["state"] == "queued"
    assert job["cause"] == "labels"
    assert job["waits_for"].startswith("a worker")
    assert label(client, 3)["job_id"] == told["job_id"]


def test_a_failed_job_has_read_its_labels_and_is_not_tried_for_ever(
    client: httpx.Client, ledger: Ledger
) -> None:
    told = label(client, 0, 1, 2)
    taken = take(ledger, "a")
    assert taken is not None
    with ledger.write() as connection:
        jobs.renew(connection, taken.job_id, "a", now_ms() + LEASE, watermark=1)
    end(ledger, taken, "a")
    assert label(client, 3) == {"new_labels": 1, "triggers_at": 3}
    assert label(client, 4, 5)["job_id"] != told["job_id"]


def test_a_cancelled_job_has_read_nothing(client: httpx.Client) -> None:
    told = label(client, 0, 1, 2)
    cancelled = client.delete(f"/jobs/{told['job_id']}").json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["cancelled_by"] == "anonymous"
    assert label(client, 3)["new_labels"] == 4


def test_what_has_ended_cannot_be_cancelled(client: httpx.Client) -> None:
    job_id = client.post("/jobs").json()["job_id"]
    client.delete(f"/jobs/{job_id}")
    again = client.delete(f"/jobs/{job_id}")
    assert again.status_code == 409
    assert "was cancelled" in again.json()["detail"]


@pytest.mark.parametrize("path", ["/jobs/nothing", "/jobs/%00", "/jobs/nothing/events"])
def test_an_unknown_job_is_not_found(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["field"] == "job_id"


def test_a_job_asked_for_twice_is_one_and_its_place_is_told(client: httpx.Client) -> None:
    first, second = client.post("/jobs"), client.post("/jobs", json={"model": "default"})
    assert first.status_code == second.status_code == 202
    assert first.json()["job_id"] == second.json()["job_id"]
    assert first.headers["Location"] == f"/jobs/{first.json()['job_id']}"
    assert client.post("/jobs", json={"model": "other"}).status_code == 404


def test_jobs_are_paged_newest_first(client: httpx.Client) -> None:
    made = []
    for _ in range(5):
        made.append(client.post("/jobs").json()["job_id"])
        client.delete(f"/jobs/{made[-1]}")
    seen, cursor = [], None
    while True:
        page = client.get("/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["job_id"] for job in page["jobs"]]
        cursor = page.get("next")
        if cursor is None:
            break
    assert seen == made[::-1]


def test_events_of_a_job_that_stands_still_say_that_the_stream_lives(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearnorm.service.retraining.jobs.job_watch.WATCH_SECONDS", 0.01)
    monkeypatch.setattr("nearnorm.service.api.jobs.SILENT_SECONDS", 0.05)
    job_id = client.post("/jobs").json()["job_id"]
    with client.stream("GET", f"/jobs/{job_id}/events") as stream:
        lines = stream.iter_lines()
        comments = [line for line, _ in zip(lines, range(12), strict=False) if line.startswith(":")]
    assert len(comments) >= 3
    assert client.head(f"/jobs/{job_id}/events").status_code == 200, (
        "which has an end though the stream has none"
    )
    client.delete(f"/jobs/{job_id}")


def test_events_of_a_job_end_with_it(client: httpx.Client) -> None:
    job_id = client.post("/jobs").json()["job_id"]
    told: list[str] = []
    with client.stream("GET", f"/jobs/{job_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                told.append(line)
                if len(told) == 1:
                    client.delete(f"/jobs/{job_id}")
    assert '"state": "queued"' in told[0]
    assert '"state": "cancelled"' in told[-1]


def test_a_version_that_the_gate_refused_is_told_as_that(client: httpx.Client, ledger: Ledger) -> None:
    job = asked(ledger)
    assert take(ledger, "a")
    with ledger.write() as connection:
        jobs.renew(connection, job.job_id, "a", now_ms() + LEASE, version="ab" * 32)
    end(ledger, job, "a", "refused")
    answer = client.post(f"/models/{'ab' * 32}/activate")
    assert answer.status_code == 409
    assert "refused by the gate" in answer.json()["detail"]
    assert client.post(f"/models/{'cd' * 32}/activate").status_code == 404


def test_there_is_nothing_to_roll_back_to_at_first(client: httpx.Client) -> None:
    answer = client.post("/models/rollback")
    assert answer.status_code == 409
    assert "nothing to roll back to" in answer.json()["detail"]

"""A receiver that fails, is slow and is away, and a service that is killed: everything is told, in order."""

import contextlib
from pathlib import Path
from typing import Any

import httpx

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.webhooks import outbox
from tests.service.asking import STRANGE, score
from tests.service.bundles import make_bundle
from tests.service.process.test_server import process
from tests.service.running import home_with
from tests.service.waiting import logged, until
from tests.service.webhooks.receiver import Received, Receiver, receiving


def test_all_is_told_in_order_by_subject_whoever_fails_or_is_killed(tmp_path: Path) -> None:
    home, receiver = home_with(tmp_path / "home", make_bundle(tmp_path / "bundle")), Receiver()
    hosts = {"NEARNORM_WEBHOOK_HOSTS": "127.0.0.1", "NEARNORM_WORKER": "off"}
    with process(home, **hosts) as (service, url), httpx.Client(base_url=url, timeout=30) as client:
        with receiving(receiver, None):
            body = {"url": receiver.url, "kinds": ["job", "alert"]}
            secret = client.post("/webhooks", json=body).json()["secret"]
            receiver.answer = _every_second_fails()
            receiver.delay = 0.05
            jobs = [_asked_and_cancelled(client) for _ in range(3)]
            until(lambda: len(_of_jobs(receiver)) >= 4)
        scored = [score(client, STRANGE | {"amount": 900.0 + i}, f"tx-{i}")["event_id"] for i in range(5)]
        jobs.append(_asked_and_cancelled(client))  # while nobody is there
        until(lambda: logged(client))
        service.kill()
        service.wait()
    assert _waiting(home) > 0, "it was killed between the commit and the delivery"
    receiver.answer, receiver.delay = lambda _: (200, {}), 0.0
    with process(home, **hosts), receiving(receiver):
        until(lambda: _waiting(home) == 0, 90)  # killed in the midst of an attempt, its lease has to run out
    told = [message.verified(secret) for message in _each_once(receiver.taken)]
    of_jobs = [(body["data"]["job_id"], body["type"]) for body in told if body["type"].startswith("job.")]
    assert sorted(of_jobs) == sorted((job, f"job.{s}") for job in jobs for s in ("queued", "cancelled"))
    for job in jobs:
        assert of_jobs.index((job, "job.queued")) < of_jobs.index((job, "job.cancelled"))
    alerts = [
        a["event_id"] for body in told if body["type"] == "alert.raised" for a in body["data"]["alerts"]
    ]
    assert sorted(alerts) == sorted(scored)


def _every_second_fails() -> Any:
    count = 0

    def answer(_: Received) -> tuple[int, dict[str, str]]:
        nonlocal count
        count += 1
        return (500, {}) if count % 2 else (200, {})

    return answer


def _asked_and_cancelled(client: httpx.Client) -> str:
    job_id: str = client.post("/jobs").json()["job_id"]
    client.delete(f"/jobs/{job_id}").raise_for_status()
    return job_id


def _of_jobs(receiver: Receiver) -> list[Received]:
    return [message for message in receiver.taken if message.json["type"].startswith("job.")]


def _each_once(taken: list[Received]) -> list[Received]:
    """What came twice, as its answer was lost, has the id that it had."""
    return list({message.message_id: message for message in reversed(taken)}.values())[::-1]


def _waiting(home: Path) -> int:
    ledger = Ledger.at(None, home)
    with contextlib.closing(ledger), ledger.read() as connection:
        return sum(n for (_, state), n in outbox.counts(connection).items() if state == "waiting")

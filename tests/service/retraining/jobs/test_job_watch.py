"""Watchers of jobs: one look at the ledger for all, a share for each caller, never in labels' way."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
import sqlalchemy as sa

from nearnorm.service.background import Background
from nearnorm.service.errors import TooManyConnections
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.retraining.jobs import job_watch, requests
from nearnorm.service.retraining.jobs.job_watch import JobWatch
from nearnorm.service.retraining.jobs.requests import Rule

T = TypeVar("T")


class CountingLedger(Ledger):
    """Counts the looks of routes and watchers."""

    looks = 0

    async def seen(self, work: Callable[[sa.Connection], T]) -> T:
        self.looks += 1
        return await super().seen(work)


def test_a_thousand_looks_of_watchers_are_one(ledger: Ledger, url: str | sa.URL) -> None:
    counting = CountingLedger(url)

    async def watched() -> tuple[int, list[str]]:
        watch = JobWatch(counting, Background())
        with ledger.write() as connection:
            job = requests.as_dict(connection, requests.request(connection, "default", Rule(20, 0), "me"))
        watchers = [watch.join("me", job) for _ in range(200)]
        await watch.next_look()
        with ledger.write() as connection:
            requests.cancel(connection, job["job_id"], "me", EVERY_LINE)
        await watch.next_look()
        states = [watcher.state["state"] for watcher in watchers]
        for watcher in watchers:
            watch.leave(watcher)
        await watch.next_look()
        looks = counting.looks
        await asyncio.sleep(3 * job_watch.WATCH_SECONDS)
        assert counting.looks == looks  # nobody watches, nobody looks
        return looks, states

    looks, states = asyncio.run(watched())
    counting.close()
    assert states == ["cancelled"] * 200
    assert looks <= 4


def test_a_lone_caller_has_every_place_and_gives_one_up_to_who_has_fewer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_watch, "MOST_WATCHERS", 10)
    state = {"job_id": "j", "state": "queued"}

    async def watched() -> None:
        watch = JobWatch(ledger, Background())
        flood = [watch.join("flood", state) for _ in range(10)]
        with pytest.raises(TooManyConnections, match="10 watch jobs already"):
            watch.join("flood", state)
        mine = [watch.join("me", state) for _ in range(5)]
        assert [watcher.is_over for watcher in flood] == [False] * 5 + [True] * 5
        with pytest.raises(TooManyConnections):
            watch.join("me", state)
        watch.leave(mine[0])
        watch.join("flood", state)
        for watcher in (*flood, *mine):
            watch.leave(watcher)

    asyncio.run(watched())

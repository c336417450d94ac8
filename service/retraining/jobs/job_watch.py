"""Watches jobs for whoever follows them: one look at the ledger for all, and a fair share for every caller.

A lone caller may have every place. Where all are taken, a caller with fewer gets the newest of who has most.
"""

import asyncio
from collections import Counter
from typing import Any

import sqlalchemy as sa

from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable, TooManyConnections
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.retraining.jobs import requests

WATCHING = "watching jobs"
WATCH_SECONDS = 0.5
MOST_WATCHERS = 256


class JobWatcher:
    """One who follows a job. `state` is the newest that was read; it `is_over` when its place was taken."""

    def __init__(self, caller: str, job_id: str, state: dict[str, Any]) -> None:
        self.caller, self.job_id, self.state = caller, job_id, state
        self.is_over = False


class JobWatch:
    """For one event loop."""

    def __init__(self, ledger: Ledger, background: Background) -> None:
        self._ledger, self._background = ledger, background
        self._watchers: list[JobWatcher] = []
        self._looked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def join(self, caller: str, state: dict[str, Any]) -> JobWatcher:
        """Follow the job that is in this state now; `leave` after. Raises TooManyConnections."""
        if len(self._watchers) >= MOST_WATCHERS:
            self._make_room(caller)
        watcher = JobWatcher(caller, state["job_id"], state)
        self._watchers.append(watcher)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())
        return watcher

    def leave(self, watcher: JobWatcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    async def next_look(self) -> None:
        """Until the ledger was looked at again, or could not be."""
        await self._looked.wait()

    def _make_room(self, caller: str) -> None:
        held = Counter(watcher.caller for watcher in self._watchers)
        most, count = held.most_common(1)[0]
        if held[caller] + 1 >= count:
            raise TooManyConnections(
                f"{MOST_WATCHERS} watch jobs already: ask GET /jobs/{{job_id}} now and then",
                headers={"Retry-After": "5"},
            )
        last = next(watcher for watcher in reversed(self._watchers) if watcher.caller == most)
        last.is_over = True
        self._watchers.remove(last)

    async def _look(self) -> None:
        while self._watchers:
            await asyncio.sleep(WATCH_SECONDS)
            ids = {watcher.job_id for watcher in self._watchers}

            def read(connection: sa.Connection, ids: set[str] = ids) -> dict[str, dict[str, Any]]:
                return {
                    id_: requests.as_dict(connection, requests.find(connection, id_, EVERY_LINE))
                    for id_ in ids
                }

            try:
                states = await self._ledger.seen(read)
                self._background.works(WATCHING)
            except LedgerUnavailable:
                states = {}
            except Exception as error:  # watching goes on, whatever it was
                self._background.failed(WATCHING, error)
                states = {}
            for watcher in self._watchers:
                watcher.state = states.get(watcher.job_id, watcher.state)
            looked, self._looked = self._looked, asyncio.Event()
            looked.set()
        self._task = None

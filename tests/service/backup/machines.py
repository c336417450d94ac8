"""A service with a past, what it tells of it, and a backup of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, score, stored
from tests.service.commands import Command, Ended
from tests.service.running import serving
from tests.service.waiting import logged, until

Elsewhere = Callable[..., Settings]
"""Moves to another machine, whose settings it answers."""


@contextmanager
def service(settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        yield client


def lived(client: httpx.Client, settings: Settings, newer: Bundle) -> dict[str, Any]:
    """A service with a past: what it tells of it."""
    version = settings.open_store().publish(newer.path)
    client.post(f"/models/{version}/activate", json={"reason": "it finds more"}).raise_for_status()
    client.put("/policy", json={"budget": "3%"}).raise_for_status()
    event = score(client, STRANGE, "tx-1")["event_id"]
    ids = stored(label(client, {"event_id": event, "label": "anomaly", "analyst": "ann"}, key="k"))
    ids += stored(label(client, {"record": RECORD, "label": "normal", "analyst": "ben"}))
    score(client, STRANGE | {"amount": 901.0}, "tx-2")  # waits in the queue
    until(lambda: logged(client))
    return told(client, ids)


def told(client: httpx.Client, ids: list[str]) -> dict[str, Any]:
    return {
        "ids": ids,
        "receipts": [client.get(f"/feedback/{one}").json() for one in ids],
        "queue": sorted(item["id"] or "" for item in client.get("/queue").json()["queue"]),
        "models": client.get("/models").json()["models"],
        "policy": client.get("/policy").json()["policy"]["budget"],
        "verdict": score(client, STRANGE)["matched_feedback"],
    }


def taken(nearnorm: Command, place: str) -> Ended:
    done = nearnorm("backup", place)
    assert done.code == 0, done.err
    return done

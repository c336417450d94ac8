"""A service of each release that runs, and one of today beside it, on one ledger and one store."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from nearnorm.service.ledger.database import sqlite_url
from tests.service.ledger.servers import running_postgres
from tests.service.process.test_server import command, environment, process
from tests.service.waiting import logged, until
from tests.upgrades.releases import RELEASES, Release

ODD = {"f1": 123, "f2": 213, "f3": 105, "f4": 0, "f5": 36, "f6": -2, "f7": -18, "f8": 69, "f9": 86}


@dataclass
class Beside:
    """Both, after the migration."""

    release: Release
    old: httpx.Client
    new: httpx.Client
    shared: dict[str, str]
    """The environment of both: ledger, store."""
    of_release: dict[str, str]
    """What makes a process the old one."""
    log: Path
    """The old one's."""
    events: list[str]
    before: dict[str, object]
    """What the old one told of them before the migration, by path."""
    exported: str
    """Its configuration file of then."""
    meanwhile: list[int]
    """Statuses of what was asked while the ledger was migrated."""


def run(home: Path, given: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environment(home, **given), capture_output=True, text=True, timeout=120
    )


def label(client: httpx.Client, event: str, verdict: str, analyst: str) -> httpx.Response:
    body = {"labels": [{"event_id": event, "label": verdict, "analyst": analyst}]}
    return client.post("/feedback", json=body)


def scored(client: httpx.Client, **changed: float) -> str:
    """The kept event of one odd record."""
    answer = client.post("/score", json={"records": [ODD | changed]}).raise_for_status().json()
    until(lambda: logged(client))
    return str(answer["results"][0]["event_id"])


def used(client: httpx.Client) -> list[str]:
    """Fill a ledger as a while does: events, which it gives, labels, a policy, a claim, a job."""
    events = [scored(client, f2=213 + i) for i in range(4)]
    for event, verdict, analyst in zip(
        [*events[:3], events[0]],
        ["anomaly", "normal", "anomaly", "normal"],
        ["mei", "mei", "ana", "ana"],
        strict=True,
    ):
        assert label(client, event, verdict, analyst).status_code == 201
    client.put("/policy", json={"budget": "2%"}).raise_for_status()
    claim = {"analyst": "mei", "limit": 1, "seconds": 3600}
    client.post("/claims", json=claim).raise_for_status()
    client.post("/jobs").raise_for_status()
    return events


ASKED = (
    *("/queue", "/queue/groups", "/policy", "/audit", "/analysts", "/feedback", "/claims?analyst=mei"),
    *("/jobs", "/models", "/drift"),
)


def asked(client: httpx.Client, events: list[str]) -> dict[str, object]:
    paths = [*ASKED, *(f"/events/{event}" for event in events)]
    return {path: client.get(path).raise_for_status().json() for path in paths}


def ask_until(over: threading.Event, client: httpx.Client, statuses: list[int]) -> None:
    """Scores, labels, the queue: again and again."""
    while not over.is_set() or len(statuses) < 9:
        answer = client.post("/score", json={"records": [ODD]})
        event = answer.json()["results"][0]["event_id"]
        statuses += [answer.status_code, client.get("/queue").status_code]
        statuses.append(label(client, event, "anomaly", "meanwhile").status_code)


def databases() -> dict[str, Callable[[Path, ExitStack], str]]:
    def sqlite(folder: Path, _: ExitStack) -> str:
        return sqlite_url(folder / "nearnorm.db").render_as_string()

    def postgresql(_: Path, opened: ExitStack) -> str:
        return opened.enter_context(running_postgres())

    return {"sqlite": sqlite, "postgresql": postgresql}


CASES = [(release, database) for release in RELEASES for database in databases()]


@pytest.fixture(scope="package", params=CASES, ids=lambda case: f"{case[0].version}-{case[1]}")
def beside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    release, database = request.param
    folder = tmp_path_factory.mktemp("upgrade")
    of_release = release.unpack(folder / "release")
    homes = [folder / "old", folder / "new"]
    for home in homes:
        home.mkdir()
    with ExitStack() as opened:
        shared = {
            "NEARNORM_DATABASE_URL": databases()[database](folder, opened),
            "NEARNORM_MODEL_STORE": str(folder / "models"),
            "NEARNORM_AUDIT_RATE": "1",
            "NEARNORM_WORKER": "off",
            "NEARNORM_WEBHOOK_HOSTS": "127.0.0.1",
        }

        def started(home: Path, given: dict[str, str]) -> httpx.Client:
            _, url = opened.enter_context(process(home, **given))
            client = opened.enter_context(httpx.Client(base_url=url, timeout=60))
            until(lambda: client.get("/readyz").status_code == 200)
            return client

        old = started(homes[0], shared | of_release)
        events = used(old)
        exported = run(homes[0], shared | of_release, "export-config").stdout
        before, meanwhile, over = asked(old, events), list[int](), threading.Event()
        asking = threading.Thread(target=ask_until, args=(over, old, meanwhile))
        asking.start()
        try:
            migrated = run(homes[1], shared, "migrate")
            new = started(homes[1], shared)
        finally:
            over.set()
            asking.join()
        assert migrated.returncode == 0, migrated.stderr
        yield Beside(
            release, old, new, shared, of_release, homes[0] / "stderr", events, before, exported, meanwhile
        )

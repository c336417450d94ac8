"""Score, label, retrain and swap for half an hour: does anything grow, or get slower?

    python -m tests.chaos.soak --minutes 30

A real `nearnorm serve` with its worker. Records come at a steady rate; analysts label out of the queue and
disagree; labels make job after job, of tiny trainings; an operator swaps versions by hand meanwhile. Before
that, what is held by design is there: a verdict on every record that comes, as many events as are kept.
A quarter of the time a hostile caller with a key of his own is at work here (hostile_caller), and a quarter
at another service on this machine: what he does to the service stands apart from what he does to the machine.
Memory, descriptors, threads, the database's size and latencies go into soak.csv and a plot; ends with 1 where
something grows, the last quarter is slower than the first, the others wait longer with the hostile caller
here than with him there, or a request of theirs failed.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import sqlalchemy as sa

from nearnorm.service.access import keyring
from nearnorm.service.access.keyring import ROLES
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.feedback.labels import labels
from nearnorm.service.ledger.tables.jobs import jobs
from tests.chaos.chaos_loop import CONFIG, ROWS, running
from tests.chaos.hostile_phases import HostilePhases, Phase
from tests.chaos.kills import Service, database_of
from tests.chaos.soak_report import Sample, judge, plot
from tests.training.conftest import SAMPLES

RATE = 20.0  # requests a second of each client
POOL = 2_000  # records that come again and again
EVENTS = 5_000  # kept at most
BULK_EVERY, BULK = 20, 100  # every so many requests, one of so many rows
LABEL_PAUSE, SWAP_PAUSE, WATCH_PAUSE = 1.0, 5.0, 15.0
ENOUGH = 400  # samples in a run, at most one a second


class Clients:
    """Those who score, label, operate and watch, each a thread with a pace of its own."""

    def __init__(self, url: str, key: str, records: list[dict[str, Any]]) -> None:
        self._url, self._headers, self._records = url, _with_key(key), records
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.latencies: list[tuple[float, float]] = []  # when, milliseconds: requests of one record
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.refusals: list[str] = []
        self.swaps = 0
        paces = [(self._score, 1 / RATE)] * 2
        paces += [(self._label, LABEL_PAUSE), (self._swap, SWAP_PAUSE), (self._watch, WATCH_PAUSE)]
        self._threads = [
            threading.Thread(target=self._keep_on, args=(work, pause, seed))
            for seed, (work, pause) in enumerate(paces)
        ]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(90)

    def _keep_on(
        self, work: Callable[[httpx.Client, random.Random, int], None], pause: float, seed: int
    ) -> None:
        """At the pace of a clock, not of the answers: slow ones do not make the load lighter."""
        chance = random.Random(seed)  # noqa: S311
        number, due = 0, time.monotonic()
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=60) as client:
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                work(client, chance, number)
                number, due = number + 1, due + pause

    def _asked(self, client: httpx.Client, method: str, path: str, **sent: Any) -> Any:
        try:
            answer = client.request(method, path, **sent)
        except httpx.TransportError as error:
            with self._lock:
                self.failures.append(f"{method} {path}: {type(error).__name__}")
            return {}
        with self._lock:
            self.answers[answer.status_code] += 1
            if answer.status_code >= 400:
                told = f"{method} {path}: {answer.status_code} {answer.text[:200]}"
                failed = answer.status_code == 429 or answer.status_code >= 500
                (self.failures if failed else self.refusals).append(told)
        return answer.json() if answer.headers["content-type"].startswith("application/json") else {}

    def _score(self, client: httpx.Client, chance: random.Random, number: int) -> None:
        count = BULK if number % BULK_EVERY == BULK_EVERY - 1 else 1
        rows = chance.sample(range(len(self._records)), count)
        body = {"records": [self._records[row] for row in rows], "ids": [f"row-{row}" for row in rows]}
        began = time.monotonic()
        self._asked(client, "POST", "/score", json=body)
        if count == 1:
            with self._lock:
                self.latencies.append((began, 1000 * (time.monotonic() - began)))

    def _label(self, client: httpx.Client, chance: random.Random, number: int) -> None:
        """The queue's first, or a record that was judged before, by one of three analysts; now and then
        a label is taken back."""
        queue = self._asked(client, "GET", "/queue", params={"limit": 5}).get("queue", [])
        named = [{"event_id": item["event_id"]} for item in queue[:1]]
        named.append({"record": chance.choice(self._records)})
        label = "anomaly" if chance.random() < 0.7 else "normal"
        items = [{**what, "label": label, "analyst": f"analyst {number % 3}"} for what in named]
        told = self._asked(
            client, "POST", "/feedback", json={"labels": items}, headers={"Idempotency-Key": f"key {number}"}
        )
        ids = [receipt["feedback_id"] for receipt in told.get("receipts", [])]
        for feedback_id in ids:
            self._asked(client, "GET", f"/feedback/{feedback_id}")
        if ids and number % 10 == 0:
            self._asked(client, "POST", "/feedback", json={"labels": [{"retract": ids[-1]}]})

    def _swap(self, client: httpx.Client, chance: random.Random, number: int) -> None:
        """Between trainings, so that those may activate what they made."""
        newest = self._asked(client, "GET", "/jobs", params={"limit": 1}).get("jobs", [])
        models = self._asked(client, "GET", "/models", params={"limit": 3}).get("models", [])
        if models and not any(job["state"] == "running" for job in newest):
            version = chance.choice(models)["version"]
            self._asked(client, "POST", f"/models/{version}/activate")
            self.swaps += 1

    def _watch(self, client: httpx.Client, chance: random.Random, number: int) -> None:
        for path in ("/metrics", "/drift", "/readyz", "/analysts", "/audit", "/models"):
            self._asked(client, "GET", path)
        self._asked(client, "PUT", "/policy", json={"budget": f"{chance.choice((1, 2, 5))}%"})
        if number % 40 == 20:
            self._asked(client, "POST", "/analysts/analyst 2/quarantine", json={"why": "the soak"})
            self._asked(client, "DELETE", "/analysts/analyst 2/quarantine")


def soak(minutes: float, database: str, csv_file: Path, image: Path) -> bool:
    """Whether nothing grew, slowed down or failed."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        database_of(database) as url,
        another_service(Path(folder) / "another") as another,
    ):
        home = Path(folder)
        (home / "quick.toml").write_text(CONFIG)
        table = pq.read_table(SAMPLES / "shuttle_train.parquet").slice(0, ROWS)
        pq.write_table(table, home / "base.parquet")
        service = Service(
            home,
            url,
            worker="auto",
            retrain_after="10",
            gate="auto",  # tiny trainings tell little, and swaps are what is wanted
            second_opinion_below="0",  # analysts here label at random
            training_config=str(home / "quick.toml"),
            training_data=str(home / "base.parquet"),
            retrain_traffic_rows="300",
            event_rows=str(EVENTS),
        )
        service.start()
        ledger = Ledger.at(url, home)
        records = _records(service.url)
        with ledger.write() as connection:
            key, _ = keyring.create(connection, "good", ROLES, "the soak")
            hostile_key, _ = keyring.create(connection, "hostile", ["score"], "the soak")
        _fill(service.url, key, records)
        clients = Clients(service.url, key, records)
        hostile = HostilePhases({"service": (service.port, hostile_key), "another": another})
        samples: list[Sample] = []
        began = time.monotonic()
        pause = max(1.0, 60 * minutes / ENOUGH)
        try:
            with clients.at_work(), hostile.at_work(), csv_file.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(Sample._fields)
                while (elapsed := time.monotonic() - began) < 60 * minutes:
                    time.sleep(pause)
                    recent = [ms for when, ms in clients.latencies[-4000:] if when >= began + elapsed]
                    samples.append(_sample(time.monotonic() - began, service, home, ledger, recent))
                    writer.writerow(samples[-1])
                    file.flush()
        finally:
            service.close()
            told = _outcome(ledger, clients)
            ledger.close()
    print(json.dumps(told))
    latencies = [(when - began, ms) for when, ms in clients.latencies]
    phases = [Phase(target, first - began, last - began) for target, first, last in hostile.phases]
    print("the hostile caller was answered:", json.dumps(hostile.answers))
    plot(samples, phases, image)
    judged = judge(samples, latencies, phases, clients.failures)
    print("\n".join(judged.lines))
    return judged.ok


@contextmanager
def another_service(home: Path) -> Iterator[tuple[int, str]]:
    """A service that only the hostile caller uses: its port, and his key."""
    home.mkdir()
    service = Service(home, None)
    service.start()
    ledger = Ledger.at(None, home)
    try:
        with ledger.write() as connection:
            key, _ = keyring.create(connection, "hostile", ["score"], "the soak")
        with httpx.Client(base_url=service.url, headers=_with_key(key), timeout=60) as client:
            _wait_for_key(client)
        yield service.port, key
    finally:
        service.close()
        ledger.close()


def _records(url: str) -> list[dict[str, Any]]:
    """Rows of the held-out sample, as the serving model wants them."""
    names = httpx.get(f"{url}/openapi.json", timeout=30).json()["paths"]["/score"]["post"]["requestBody"][
        "content"
    ]["application/json"]["schema"]["properties"]["records"]["items"]["properties"]
    table = pq.read_table(SAMPLES / "shuttle_held_out.parquet").slice(0, POOL)
    return [{name: row[name] for name in names if name in row} for row in table.to_pylist()]


def _with_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _fill(url: str, key: str, records: list[dict[str, Any]]) -> None:
    """A verdict on every record, and events until no more are kept."""
    with httpx.Client(base_url=url, headers=_with_key(key), timeout=60) as client:
        _wait_for_key(client)
        for start in range(0, len(records), 100):
            labels = [
                {
                    "record": record,
                    "label": "anomaly" if number % 10 < 7 else "normal",
                    "analyst": "the first",
                }
                for number, record in enumerate(records[start : start + 100])
            ]
            client.post("/feedback", json={"labels": labels}).raise_for_status()
        kept = 0
        while kept < EVENTS:
            for start in range(0, len(records), 500):
                answer = client.post("/score", json={"records": records[start : start + 500]})
                kept += sum("event_id" in result for result in answer.raise_for_status().json()["results"])


def _wait_for_key(client: httpx.Client) -> None:
    """A new key is known within seconds."""
    deadline = time.monotonic() + 60
    while client.get("/models").status_code == 401:
        assert time.monotonic() < deadline, "the service does not know its key"
        time.sleep(0.2)


def _sample(seconds: float, service: Service, home: Path, ledger: Ledger, recent: list[float]) -> Sample:
    found = running(service)
    of_service, of_worker = _process(found["service"]), _process(found.get("worker", 0))
    of_bulk, *_ = _process(found.get("bulk", 0))
    recent = sorted(recent)
    p99 = recent[int(0.99 * (len(recent) - 1))] if recent else float("nan")
    return Sample(round(seconds, 1), *of_service, *of_worker, of_bulk, _size(home, ledger), round(p99, 3))


def _process(pid: int) -> tuple[float, int, int]:
    """MB resident, descriptors, threads; all 0 for a process that is not there."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0.0, 0, 0
    values = dict(line.split(":", 1) for line in status.splitlines())
    return round(int(values["VmRSS"].split()[0]) / 1024, 1), descriptors, int(values["Threads"])


def _size(home: Path, ledger: Ledger) -> float:
    """MB of the database."""
    if ledger.is_sqlite:
        return round(sum(file.stat().st_size for file in home.glob("nearnorm.db*")) / 2**20, 2)
    with ledger.read() as connection:
        size: int = connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()
    return round(size / 2**20, 2)


def _outcome(ledger: Ledger, clients: Clients) -> dict[str, object]:
    with ledger.read() as connection:
        states = Counter(connection.scalars(sa.select(jobs.c.state)))
        served = connection.execute(sa.select(sa.func.count()).where(jobs.c.activated)).scalar_one()
        stored = connection.execute(sa.select(sa.func.count()).select_from(labels)).scalar_one()
    return {
        "requests": clients.answers.total(),
        "answers": dict(clients.answers),
        "labels": stored,
        "jobs": dict(states),
        "activated by jobs": served,
        "activated by hand": clients.swaps,
        "refused": clients.refusals,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    parser.add_argument("--image", type=Path, default=Path("docs/images/soak.png"))
    given = parser.parse_args()
    sys.exit(not soak(given.minutes, given.database, given.csv, given.image))


if __name__ == "__main__":
    main()

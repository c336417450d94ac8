"""Kill the service again and again while it scores and takes labels: is anything lost or doubled?

    python -m tests.chaos.kills --database sqlite --kills 200
    python -m tests.chaos.kills --database postgresql --kills 200

Real processes, real HTTP, SIGKILL by process id at random moments. Labels are sent with an
Idempotency-Key, and again with the same key until there is an answer; each carries a comment of its own,
so that what the ledger holds at the end can be counted against what was answered.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from nearnorm import Client
from nearnorm.client import ProblemError, UnreachableError
from nearnorm.client.answers import LabelItem
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.ledger.tables.feedback.labels import labels
from tests.journey.loop import example_record
from tests.ports import free_port
from tests.service.ledger.servers import running_postgres

BAD, FAR = 0.05, 8.0  # so many records in one are anomalies, and so far from the others
NEARNORM = Path(sys.executable).parent / "nearnorm"


@dataclass
class Outcome:
    """`lost_events` had their id in an answer and are not in the ledger; `most_lost` in one kill."""

    database: str
    kills: int
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    never_answered: int = 0
    refused_for_a_lost_event: int = 0
    other_answers: dict[int, int] = field(default_factory=dict)
    kept_events: int = 0
    lost_events: int = 0
    most_lost: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.lost == self.doubled == 0 and self.acknowledged > 0 and not self.other_answers


class Service:
    """One `nearnorm serve` at a time, always on the same port."""

    def __init__(self, home: Path, database_url: str | None, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "NEARNORM_HOME": str(home),
            "NEARNORM_AUDIT_RATE": "0.2",
            "NEARNORM_WORKER": "off",
            "NEARNORM_ANALYST_LABELS_PER_HOUR": "10000000",
            "OMP_NUM_THREADS": "1",
        }
        self._environment |= {f"NEARNORM_{name.upper()}": value for name, value in settings.items()}
        if database_url:
            self._environment["NEARNORM_DATABASE_URL"] = database_url
        self._log = (home / "service.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [NEARNORM, "serve", "--port", str(self.port)],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 240  # on a machine with much else to do
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", timeout=5, verify=False).status_code == 200:
                    return
            assert self._process.poll() is None, Path(self._log.name).read_text()[-2000:]
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        """Stop it in an orderly way."""
        self.kill(signal.SIGTERM)
        self._log.close()

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(60)


class Load:
    """Threads that score and label until told to stop."""

    def __init__(self, url: str, record: dict[str, Any], label_pause: float = 0.01) -> None:
        self._url = url
        self._record = record
        self._label_pause = label_pause
        self._stop = threading.Event()
        self._numbers = iter(range(10**9))
        self._lock = threading.Lock()
        self.life = 0  # grows with every kill
        self.kept: dict[str, int] = {}  # event_id -> the life it was answered in
        self.bad: set[str] = set()  # events that are anomalies in truth
        self.acknowledged: dict[str, list[str]] = {}  # key -> feedback ids
        self.sent: dict[str, int] = {}  # key -> labels
        self.answers: Counter[int] = Counter()
        self.put_off = 0  # labels answered with 503 and when to come again
        self.scored: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._score, daemon=True)]
        self._threads += [
            threading.Thread(target=self._label, args=(seed,), daemon=True) for seed in range(4)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _number(self) -> int:
        with self._lock:
            return next(self._numbers)

    def _score(self) -> None:
        with Client(self._url, patience=0) as client:
            while not self._stop.wait(0.005):
                life = self.life
                # a thousand different ones, so that a training is as long at the end as at first
                shifts = [random.randrange(1000) / 1000 + FAR * (random.random() < BAD) for _ in range(20)]  # noqa: S311
                records = [self._varied(shift) for shift in shifts]
                ids = [f"tx-{self._number()}" for _ in records]
                try:
                    scores = client.score(records, ids=ids)
                except UnreachableError:
                    self._stop.wait(0.05)
                    continue
                except ProblemError as error:
                    self.scored[error.status] += 1
                    continue
                self.scored[200] += 1
                for shift, event_id in zip(shifts, scores.columns["event_id"], strict=True):
                    if event_id is not None:
                        self.kept[event_id] = life
                        if shift >= FAR:
                            self.bad.add(event_id)

    def _varied(self, chance: float) -> dict[str, Any]:
        return {
            name: value * (1 + chance) + chance if isinstance(value, float) else value
            for name, value in self._record.items()
        }

    def _label(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        with Client(self._url, patience=0) as client:
            while not self._stop.wait(self._label_pause):
                recent = list(self.kept)[-50:]
                if not recent:
                    continue
                key = f"key-{self._number()}"
                chosen = chance.sample(recent, min(len(recent), chance.randint(1, 3)))
                items = [
                    LabelItem(
                        event_id=id_,
                        label="anomaly" if id_ in self.bad else "normal",
                        comment=f"{key}/{i}",
                    )
                    for i, id_ in enumerate(chosen)
                ]
                self.sent[key] = len(items)
                self._send(client, key, items)

    def _send(self, client: Client, key: str, items: list[LabelItem]) -> None:
        """Until there is an answer: the point of a key is that this is safe. The client, which could do so by
        itself, has no patience here: every answer is counted."""
        while not self._stop.is_set():
            try:
                stored = client.label(items, idempotency_key=key)
            except UnreachableError:
                self._stop.wait(0.05)
                continue
            except ProblemError as error:
                if error.status == 503 and error.retry_after:
                    self.put_off += 1
                    self._stop.wait(0.2)
                    continue
                self.answers[error.status] += 1
                return
            self.answers[201] += 1
            self.acknowledged[key] = [receipt["feedback_id"] for receipt in stored["receipts"]]
            return


def run(database: str, kills: int, seed: int = 0) -> Outcome:
    """Start, load, kill `kills` times, and count what the ledger holds."""
    started = time.monotonic()
    chance = random.Random(seed)  # noqa: S311
    outcome = Outcome(database, kills)
    with _home() as home, database_of(database) as url:
        service = Service(home, url)
        service.start()
        with Client(service.url) as client:
            load = Load(service.url, example_record(client))
        load.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 1.2))
            service.kill()
            load.life += 1
            service.start()
        time.sleep(1.0)
        load.stop()
        service.close()
        ledger = Ledger.at(url, home)
        try:
            count(ledger, load, outcome)
        finally:
            ledger.close()
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def count(ledger: Ledger, load: Load, outcome: Outcome) -> None:
    """What became of all that was answered."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(labels.c.feedback_id, labels.c.comment)).all()
        kept = set(connection.scalars(sa.select(events.c.event_id)))
    stored = {row.feedback_id for row in rows}
    comments = Counter(row.comment for row in rows)
    answered = [id_ for ids in load.acknowledged.values() for id_ in ids]
    outcome.acknowledged = len(answered)
    outcome.lost = sum(id_ not in stored for id_ in answered)
    outcome.doubled = sum(count - 1 for count in comments.values())
    outcome.never_answered = len(load.sent) - sum(load.answers.values())
    outcome.refused_for_a_lost_event = load.answers.pop(422, 0)
    load.answers.pop(201, None)
    outcome.other_answers = dict(load.answers)
    lives = Counter(life for event_id, life in load.kept.items() if event_id not in kept)
    outcome.kept_events = len(load.kept)
    outcome.lost_events = lives.total()
    outcome.most_lost = max(lives.values(), default=0)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def database_of(database: str) -> Iterator[str | None]:
    if database == "sqlite":
        yield None
        return
    with running_postgres() as uri:
        yield uri


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcomes = [run(d, given.kills, given.seed) for d in given.database or ["sqlite", "postgresql"]]
    print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    sys.exit(not all(outcome.ok for outcome in outcomes))


if __name__ == "__main__":
    main()

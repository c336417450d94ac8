"""A hundred lines wait to be retrained, and two workers share them, one of which is killed again and again.

    python -m tests.chaos.retrained --lines 100

A real PostgreSQL, a real service that takes twenty labels for each line, two real workers with homes of their
own and one store. The second worker gets SIGKILL every few seconds, and a successor. Told is what became of
each line's job, how often a worker died over one, and how the lines had their turns.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa

from nearnorm import Client
from nearnorm.client.answers import LabelItem
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import lines
from nearnorm.service.ledger.tables.jobs import ENDED, jobs
from nearnorm.service.ledger.tables.lines import Line, LineData
from tests.chaos.chaos_loop import CONFIG, ROWS
from tests.chaos.kills import NEARNORM, Service
from tests.service.ledger.servers import running_postgres
from tests.training.conftest import SAMPLES

LABELS = 20
STARTER = Path("models/starter")
FEATURES = [f"f{number}" for number in range(1, 10)]


@dataclass
class Outcome:
    """`states` of the lines' first jobs; `attempts`: how many workers began one; `last_wait_seconds`: the
    longest time from the twentieth label until a worker began."""

    lines: int
    kills: int = 0
    states: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    by_worker: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    serving_anew: int = 0
    last_wait_seconds: float = 0.0
    median_job_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Every line was trained and judged, and the second worker was really killed."""
        return (
            self.states.get("succeeded", 0) + self.states.get("refused", 0) == self.lines and self.kills > 0
        )


class KilledWorker:
    """A worker that is killed every few seconds, and started again, until `close`."""

    def __init__(self, environment: dict[str, str], log: Path, seed: int) -> None:
        self.kills = 0
        self._environment, self._log, self._chance = environment, log, random.Random(seed)  # noqa: S311
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._stop.is_set():
            with working(self._environment, self._log) as process:
                self._stop.wait(self._chance.uniform(1.0, 12.0))
                process.send_signal(signal.SIGKILL)
                process.wait()
                self.kills += not self._stop.is_set()


@contextmanager
def working(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as told:
        process = subprocess.Popen([NEARNORM, "worker"], env=environment, stdout=told, stderr=told)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def base_data(folder: Path) -> LineData:
    """Tiny trainings: what is tried is who has a turn, not what is learnt."""
    config, rows = folder / "quick.toml", folder / "base.parquet"
    config.write_text(CONFIG)
    pq.write_table(pq.read_table(SAMPLES / "shuttle_train.parquet").slice(0, ROWS), rows)
    return LineData(str(rows), None, str(config))


def environment_of(home: Path, url: str, store: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    return os.environ | {
        "NEARNORM_HOME": str(home),
        "NEARNORM_MODEL_STORE": str(store),
        "NEARNORM_DATABASE_URL": url,
        "NEARNORM_TRAINING_THREADS": "1",
        "NEARNORM_RETRAIN_AFTER": str(LABELS),
        "NEARNORM_GATE": "auto",
    }


def label(url: str, names: list[str]) -> None:
    """Twenty labels for each line: then its job waits."""
    table = pq.read_table(SAMPLES / "shuttle_train.parquet", columns=FEATURES)
    records = table.slice(ROWS, LABELS).to_pylist()
    items = [
        LabelItem(record=one, label="normal" if number % 5 else "anomaly", analyst="mei")
        for number, one in enumerate(records)
    ]
    with Client(url, patience=60) as client:
        for name in names:
            client.label(items, model=name)


def run(number: int, seed: int, minutes: float) -> Outcome:
    started, outcome = time.monotonic(), Outcome(number)
    names = [f"line-{one:03}" for one in range(number)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, running_postgres() as url:
        folder = Path(name)
        store = ModelStore(folder / "models")
        version = store.publish(STARTER)
        ledger = Ledger.at(url, folder)
        migrate(ledger)
        with ledger.write() as connection:
            for line in names:
                lines.put(connection, Line(line, base_data(folder), now_ms(), "chaos"))
        for line in names:
            store.activate(version, by="chaos", model=line)
        homes = [environment_of(folder / home, url, folder / "models") for home in ("steady", "killed")]
        service = Service(
            folder / "steady",
            url,
            model_store=str(folder / "models"),
            retrain_after=str(LABELS),
            second_opinion_below="0",  # there is one analyst
        )
        service.start()
        try:
            label(service.url, names)
        finally:
            service.close()
        killed = KilledWorker(homes[1], folder / "killed.log", seed)
        with working(homes[0], folder / "steady.log"):
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until and _left(ledger):
                time.sleep(1.0)
            killed.close()
        outcome.kills = killed.kills
        _count(ledger, store, version, outcome)
        ledger.close()
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def _left(ledger: Ledger) -> int:
    with ledger.read() as connection:
        waits = sa.select(sa.func.count()).where(jobs.c.state.not_in(ENDED))
        return int(connection.execute(waits).scalar_one())


def _count(ledger: Ledger, store: ModelStore, version: str, outcome: Outcome) -> None:
    with ledger.read() as connection:
        rows: list[Any] = list(connection.execute(sa.select(jobs)))
    first = {row.model: row for row in reversed(rows)}
    outcome.states = dict(Counter(row.state for row in first.values()))
    outcome.attempts = dict(sorted(Counter(row.attempts for row in first.values()).items()))
    outcome.by_worker = dict(Counter(Path(row.worker.split(":")[1]).name for row in rows if row.worker))
    outcome.reasons = [row.reasons for row in first.values() if row.state == "failed"]
    outcome.serving_anew = sum(
        (champion := store.champion(name)) is not None and champion.version != version for name in first
    )
    waits = [(row.started_at - row.at) / 1000 for row in first.values() if row.started_at]
    took = [(row.ended_at - row.started_at) / 1000 for row in first.values() if row.ended_at]
    outcome.median_job_seconds = round(statistics.median(took), 1) if took else 0.0
    outcome.last_wait_seconds = round(max(waits, default=0.0), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="given up after")
    given = parser.parse_args()
    outcome = run(given.lines, given.seed, given.minutes)
    print(json.dumps(asdict(outcome), indent=1))
    sys.exit(not outcome.ok)


if __name__ == "__main__":
    main()

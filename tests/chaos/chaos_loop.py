"""Kill the service, its worker and its training again and again, under load: is anything half done?

    python -m tests.chaos.chaos_loop --kills 200

SIGKILL by process id at random moments, while records are scored and labels make job after job: the
trainings are tiny, so that kills meet every stage. At the end nothing is killed any more, and the store,
the ledger and the activation log are looked through.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa

from nearnorm import Client
from nearnorm.client import ProblemError
from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.feedback.labels import labels
from nearnorm.service.ledger.tables.jobs import ENDED, jobs
from tests.chaos.kills import Load, Service, database_of
from tests.journey.loop import example_record
from tests.training.conftest import SAMPLES

VICTIMS = {"service", "worker", "training"}
ENOUGH = 30  # kills, of which some meet each of these
SETTLE = 240.0  # seconds for the last job to end by itself
AFTER_RESULT = 8  # every so many kills, one is of a worker or service that has a result to put into service
RESULT = 90.0  # seconds to wait for it
TRAINS = 20.0  # seconds to wait for a training to kill: a dead worker's job is taken up after ten
ACTIVATES = 0.8  # seconds after a result over which the moment of a kill is drawn
SPREAD = 3.0  # seconds over which the moment of a kill is drawn
LABEL_PAUSE = 0.5  # seconds between the labels of one analyst
CONFIG = "[fit]\nmembers = 1\nforests = 1\ntrees = 5\nrepresentation_epochs = 1\njoint_epochs = 1\n"
ROWS = 600
BUDGET = "20%"


@dataclass
class Outcome:
    """`torn` versions do not open, `stuck` jobs did not end, `doubled` jobs activated more than once."""

    database: str
    kills: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    lost: int = 0
    jobs: dict[str, int] = field(default_factory=dict)
    torn: int = 0
    stuck: int = 0
    doubled: int = 0
    activations: int = 0
    did_not_serve: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        whole = self.lost == self.torn == self.stuck == self.doubled == self.did_not_serve == 0
        met = self.kills.keys() == VICTIMS or sum(self.kills.values()) < ENOUGH
        return whole and met and self.acknowledged > 0 and self.jobs.get("succeeded", 0) > 0


def children(parent: int) -> list[tuple[int, str]]:
    """Ids and command lines of a process's children."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if (
                folder.name.isdigit()
                and int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent
            ):
                found.append((int(folder.name), (folder / "cmdline").read_text().replace("\0", " ")))
    return found


def running(service: Service) -> dict[str, int]:
    """The processes there are to kill, by kind."""
    found = {"service": service.pid}
    for pid, line in children(service.pid):
        if "scoring.bulk.process" in line:
            found["bulk"] = pid
        if "nearnorm worker" in line:
            found["worker"] = pid
            for child, command in children(pid):
                if "nearnorm.training.loop.retrain" in command:
                    found["training"] = child
    return found


def victim(service: Service, wanted: str) -> tuple[str, int]:
    """The process of that kind, or where there is none in time the one that would start it."""
    deadline = time.monotonic() + TRAINS
    while wanted not in (there := running(service)) and time.monotonic() < deadline:
        time.sleep(0.05)
    kind = next(kind for kind in (wanted, "worker", "service") if kind in there)
    return kind, there[kind]


def run(database: str, kills: int, seed: int = 0, minutes: float = float("inf")) -> Outcome:
    """At most `kills`, and no more after `minutes`; then everything is left to end, and counted."""
    started = time.monotonic()
    chance = random.Random(seed)  # noqa: S311
    outcome, killed = Outcome(database), Counter[str]()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, database_of(database) as url:
        home = Path(folder)
        (home / "quick.toml").write_text(CONFIG)
        pq.write_table(pq.read_table(SAMPLES / "shuttle_train.parquet").slice(0, ROWS), home / "base.parquet")
        service = Service(
            home,
            url,
            worker="auto",
            retrain_after="5",
            gate="auto",  # tiny trainings tell little, and swaps are what is wanted
            second_opinion_below="0",  # analysts here label at random
            training_config=str(home / "quick.toml"),
            training_data=str(home / "base.parquet"),
            retrain_traffic_rows="300",
        )
        service.start()
        # room for alerts on what analysts found, so that the gate lets models pass and some are activated
        client = Client(service.url)
        client.set_policy(BUDGET)
        record = example_record(client)
        load = Load(service.url, record, LABEL_PAUSE)
        load.start()
        for number in range(kills):
            if time.monotonic() - started > 60 * minutes:
                break
            if number % AFTER_RESULT == AFTER_RESULT - 1:
                kind = chance.choice(("service", "worker"))
                result_comes(home)
                time.sleep(chance.uniform(0.0, ACTIVATES))
            else:
                kind, _ = victim(service, chance.choice(sorted(VICTIMS)))
                time.sleep(chance.uniform(0.0, SPREAD))
            kind, pid = victim(service, kind)
            killed[kind] += 1
            if kind == "service":
                service.kill()
                load.life += 1
                service.start()
            else:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            outcome.did_not_serve += not serves(client, record)
            if number % 10 == 9:
                told = {"kills": number + 1, **killed, **states(client)}
                told["seconds"] = round(time.monotonic() - started)
                print(database, json.dumps(told), file=sys.stderr, flush=True)
        load.stop()
        settle(client)
        client.close()
        service.close()
        outcome.kills = dict(killed)
        count(home, Ledger.at(url, home), load, outcome)
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def serves(client: Client, record: dict[str, Any]) -> bool:
    """Whether the champion that the log names answers with a score."""
    try:
        return "score" in client.score([record])[0]
    except ProblemError:
        return False


def result_comes(home: Path) -> None:
    """Until a training has ended well: its model is judged, published and activated within a second."""
    before = set(home.glob("jobs/*/result.json"))
    deadline = time.monotonic() + RESULT
    while set(home.glob("jobs/*/result.json")) <= before and time.monotonic() < deadline:
        time.sleep(0.005)


def states(client: Client) -> Counter[str]:
    """How many of the newest jobs are in which state."""
    return Counter(job["state"] for job in client.jobs(limit=200))


def settle(client: Client) -> None:
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline and not set(states(client)) <= set(ENDED):
        time.sleep(0.5)


def count(home: Path, ledger: Ledger, load: Load, outcome: Outcome) -> None:
    with ledger.read() as connection:
        stored = set(connection.scalars(sa.select(labels.c.feedback_id)))
        states = Counter(connection.scalars(sa.select(jobs.c.state)))
    ledger.close()
    answered = [id_ for ids in load.acknowledged.values() for id_ in ids]
    outcome.acknowledged = len(answered)
    outcome.lost = sum(id_ not in stored for id_ in answered)
    outcome.jobs = dict(states)
    outcome.stuck = sum(number for state, number in states.items() if state not in ENDED)
    store = ModelStore(home / "models")
    for version in store.versions():
        try:
            store.open(version)
        except NearnormError:
            outcome.torn += 1
    by_jobs = Counter(entry.by for entry in store.activations() if entry.by.startswith("job:"))
    outcome.activations = by_jobs.total()
    outcome.doubled = sum(number - 1 for number in by_jobs.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="kill no longer than that")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    whole = True
    for database in given.database or ["sqlite", "postgresql"]:
        outcome = run(database, given.kills, given.seed, given.minutes)
        print(json.dumps(asdict(outcome)), flush=True)
        whole = whole and outcome.ok
    sys.exit(not whole)


if __name__ == "__main__":
    main()

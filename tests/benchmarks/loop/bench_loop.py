"""`make bench-loop`: does learning from an analyst find more anomalies than not learning?

A simulated analyst, over HTTP against the real service and its worker. Half of a set's rows are base data
with five labelled anomalies; the other half is traffic, scored anew in every round as far as nobody has
judged it. In each of ten rounds the analyst reviews the 20 events of GET /queue, labels them truly, and
waits for the retraining. The others see the same rows and labels and review their own 20 highest.

Each set is a process on a CPU of its own, and leaves two files in --out, ours and theirs: what is there is
not done again, so that an interrupted run goes on. The table and the plot are made of those files.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np

from nearnorm import Client
from nearnorm.client.answers import JobDocument, LabelItem
from nearnorm.models.store.folder import ModelStore
from nearnorm.training.commands import ProgressStyle, train
from tests.benchmarks.loop.analyst_report import report
from tests.benchmarks.loop.pools import SETS, Pool, load
from tests.benchmarks.loop.rivals import by_model, rivals
from tests.benchmarks.sets.bench_data import bench_data
from tests.journey.loop import logged, serves, serving
from tests.service.waiting import until

LONGEST_JOB = 1800.0  # seconds


def ours(pool: Pool, rounds: int, reviews: int, budget: str, seed: int) -> dict[str, Any]:
    """Over HTTP. Tells what was found after each round, how jobs ended and how long they took."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        train(pool.write_base(home), home / "bundle", seed=seed, progress=ProgressStyle.OFF)
        store = ModelStore(home / "models")
        store.activate(store.publish(home / "bundle"), by="bench")
        records = pool.traffic.to_pylist()
        found: list[int] = []
        states: list[str] = []
        seconds: list[float] = []
        why: list[str] = []
        judged: dict[int, int] = {}
        confirmed = 0  # reviews that were second opinions
        settings = {"audit_rate": "1.0", "retrain_after": str(reviews), "reference_reviews": "0"}
        with serving(home, **settings) as client:
            client.set_policy(budget)
            first: list[float] = []
            for number in range(rounds):
                left = [i for i in range(len(records)) if i not in judged]
                scores = client.score([records[i] for i in left], ids=left)
                first = first or [score or 0.0 for score in scores.columns["score"]]
                until(lambda: logged(client), 60)
                queue = list(client.queue(limit=reviews))
                chosen = [int(item["id"]) for item in queue]
                confirmed += sum(item["why"] == "second_opinion" for item in queue)
                judged |= {i: int(pool.truth[i]) for i in chosen}
                items = [
                    LabelItem(event_id=item["event_id"], label="anomaly" if judged[i] else "normal")
                    for item, i in zip(queue, chosen, strict=True)
                ]
                found.append(sum(judged.values()))
                started = time.perf_counter()
                told = client.label(items)["retraining"]
                job_id = told["job_id"] if "job_id" in told else client.retrain()["job_id"]
                job = client.wait(job_id, timeout=LONGEST_JOB, every=0.1)
                wait_for(client, job)
                seconds.append(round(time.perf_counter() - started, 1))
                states.append(job["state"])
                why += job["reasons"][:1] if job["state"] != "succeeded" else []
                print(
                    f"{pool.name}: round {number + 1}, {found[-1]} of {pool.truth.sum()} found, "
                    f"{confirmed} second opinions, job {states[-1]} after {seconds[-1]} s",
                    file=sys.stderr,
                    flush=True,
                )
        order = np.argsort(-np.array(first), kind="stable")
        truth = pool.truth[order].cumsum()
        still = [int(truth[min((n + 1) * reviews, len(truth)) - 1]) for n in range(rounds)]
        return {
            "ours": found,
            "no learning": still,
            "jobs": states,
            "seconds": seconds,
            "why": why,
            "confirmed": confirmed,
        }


def wait_for(client: Client, job: JobDocument) -> None:
    """Until the new version serves."""
    while job.get("activated") and not serves(client, job["version"]):
        time.sleep(0.1)


def theirs(pool: Pool, rounds: int, reviews: int) -> dict[str, Any]:
    """What the others find; nothing of ours touches it."""
    return {title: by_model(pool, rounds, reviews, rank, learn) for title, (rank, learn) in rivals().items()}


def one_set(data: Path, name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Each half is a file, and is not done again."""
    pool = load(data, name, given.seed)
    row: dict[str, Any] = {"set": name, "rows": len(pool.truth), "anomalies": int(pool.truth.sum())}
    halves: dict[str, Callable[[], dict[str, Any]]] = {
        "theirs": lambda: theirs(pool, given.rounds, given.reviews),
        "ours": lambda: ours(pool, given.rounds, given.reviews, given.budget, given.seed),
    }
    for half, run in halves.items():
        file = given.out / f"{name.split('/')[-1].replace('data:', '')}.{half}.json"
        if half in given.only and not file.is_file():
            file.write_text(json.dumps(run()))
        if file.is_file():
            row |= json.loads(file.read_text())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--reviews", type=int, default=20)
    parser.add_argument("--budget", default="2%")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("var/analyst"), help="a file for each set")
    parser.add_argument("--only", nargs="*", choices=("theirs", "ours"), default=("theirs", "ours"))
    parser.add_argument("--plot", type=Path, help="an image of what was found")
    parser.add_argument("--at-once", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    data = bench_data("data")
    if data is None:
        return
    if "PU CatBoost" not in rivals():
        print("catboost is not installed: left out", file=sys.stderr)
    given.out.mkdir(parents=True, exist_ok=True)
    spawning = multiprocessing.get_context("spawn")
    cpus: Queue[int] = spawning.Queue()
    for cpu in sorted(os.sched_getaffinity(0))[: given.at_once]:
        cpus.put(cpu)
    with ProcessPoolExecutor(given.at_once, spawning, initializer=settle, initargs=(cpus,)) as pool:
        running = [pool.submit(one_set, data, name, given) for name in given.sets]
        for done in as_completed(running):
            print(json.dumps(done.result()), file=sys.stderr, flush=True)
    rows = [row for done in running if "ours" in (row := done.result())]
    if rows:
        print(report(rows, given.plot))


def settle(cpus: "Queue[int]") -> None:
    """A CPU of its own for each set, and for all that it starts: two sets do not take each other's time."""
    os.sched_setaffinity(0, {cpus.get()})


if __name__ == "__main__":
    main()

"""`make bench-retraining`: how long from the label that makes it enough to the better model serving?

    python -m tests.benchmarks.loop.bench_retraining --rows 10000 --times 3

Exactly --rows rows: the first of the Shuttle sample, and twenty records that are scored over HTTP and
labelled. The clock runs from sending the twentieth label until /score answers with the new version. Each time
is a fresh home; stages begin when the job's events first tell of them.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import pyarrow.parquet as pq

from nearnorm import Client
from nearnorm.client.answers import LabelItem
from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.training.commands import ProgressStyle, train
from tests.journey.loop import running
from tests.training.conftest import SAMPLES

LABELS = 20


def verdicts() -> tuple[list[dict[str, Any]], list[Literal["anomaly", "normal"]]]:
    """As many held-out records as LABELS, half of them anomalies, and what an analyst says of each."""
    rows = pq.read_table(SAMPLES / "shuttle_held_out.parquet").to_pylist()
    records: list[dict[str, Any]] = []
    said: list[Literal["anomaly", "normal"]] = []
    words: tuple[tuple[int, Literal["anomaly", "normal"]], ...] = ((1, "anomaly"), (0, "normal"))
    for label, word in words:
        for row in [row for row in rows if row["label"] == label][: LABELS // 2]:
            records.append({name: value for name, value in row.items() if name != "label"})
            said.append(word)
    return records, said


def measured(bundle: Bundle, rows: int, folder: Path) -> dict[str, Any]:
    """Seconds until the new version answered, and those of the job's stages."""
    store = ModelStore(folder / "models")
    store.activate(store.publish(bundle.path), by="bench")
    records, said = verdicts()
    settings = {"audit_rate": "1.0", "retrain_after": str(LABELS), "second_opinion_below": "0"}
    with running(folder, **settings) as url, Client(url) as client:
        while "\nnearnorm_workers 1.0" not in client.request("GET", "/metrics"):
            time.sleep(0.2)  # it is there before the labels are, as in life
        client.set_policy("60%")  # half of it are anomalies
        scores = client.score(records)
        labels = [
            LabelItem(event_id=score["event_id"], label=word)
            for score, word in zip(scores, said, strict=True)
        ]
        started = time.perf_counter()
        told = client.label(labels)
        stages, job = watched(url, told["retraining"]["job_id"], started)
        assert job.get("activated"), job["reasons"]
        while client.score(records[:1]).version != job["version"]:
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        trained = json.loads((folder / "jobs" / job["job_id"] / "result.json").read_bytes())["rows"]
    assert trained == rows, f"{trained} rows were trained on"
    return {"seconds": round(seconds, 1), "stages": stages}


def watched(url: str, job_id: str, started: float) -> tuple[dict[str, float], dict[str, Any]]:
    """When each stage was first told, in seconds since the labels were sent, and the job at its end."""
    begins: dict[str, float] = {}
    job: dict[str, Any] = {}
    with httpx.stream("GET", f"{url}/jobs/{job_id}/events", timeout=600) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                job = json.loads(line.removeprefix("data: "))
                begins.setdefault(job.get("stage") or "queued", round(time.perf_counter() - started, 1))
    return begins, job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = pq.read_table(SAMPLES / "shuttle_train.parquet").slice(0, given.rows - LABELS)
        pq.write_table(base, folder / "base.parquet")
        train(str(folder / "base.parquet"), folder / "bundle", seed=0, progress=ProgressStyle.OFF)
        bundle = read_bundle(folder / "bundle")
        found = [measured(bundle, given.rows, folder / f"home-{n}") for n in range(given.times)]
    seconds = [one["seconds"] for one in found]
    figures = {
        "rows": given.rows,
        "cpus": len(os.sched_getaffinity(0)),
        "median_seconds": statistics.median(seconds),
        "seconds": seconds,
        "stages_begin_at": found[int(np.argmin(seconds))]["stages"],
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

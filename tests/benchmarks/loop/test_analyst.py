"""What the simulated analyst stands on: over HTTP it is asked about scores that are in the ledger, and
without HTTP it learns from the same rows as a retraining."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.benchmarks.loop.bench_queue import Learner
from tests.benchmarks.loop.pools import Pool
from tests.journey.loop import example_record, logged, serving
from tests.service.waiting import until


def test_the_queue_knows_every_scored_record_once_the_log_has_written(tmp_path: Path) -> None:
    with serving(tmp_path, worker="off", audit_rate="1") as client:
        sample = example_record(client)
        name = next(name for name, value in sample.items() if type(value) is float)
        sent = [{**sample, name: float(i)} for i in range(150)]
        scores = client.score(sent)
        until(lambda: logged(client), 10)
        assert {item["event_id"] for item in client.queue(limit=200)} == set(scores.columns["event_id"])


def test_the_analyst_without_http_learns_from_what_a_retraining_fits_on() -> None:
    rng = np.random.default_rng(0)
    base, traffic = (pa.table({"x": rng.normal(size=n), "y": rng.normal(size=n)}) for n in (1_500, 1_000))
    known = np.full(1_500, -1, np.int8)
    known[:5] = 1
    learner = Learner(Pool("made", base, known, traffic, np.zeros(1_000, int)), seed=0)
    verdicts = np.full(1_000, -1)

    first = learner.training_set(verdicts)  # `nearnorm train` has seen no traffic yet
    assert len(first.labels) == 1_500 - round(0.2 * 1_495)
    verdicts[:20] = [1, 0] * 10
    again = learner.training_set(verdicts)  # a fifth is held out for the reference, and no label is
    assert len(again.labels) == 2_500 - round(0.2 * 2_485)
    assert (again.labels == 1).sum() == 15
    assert (again.labels == 0).sum() == 10

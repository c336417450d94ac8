"""The service without metrics and drift, to measure what they cost: `python -m ... PORT`."""

import sys

from nearnorm.service.drift.monitor import Drift
from nearnorm.service.metrics.counters import BucketCounts, Metrics
from nearnorm.service.process.server import run
from nearnorm.service.settings import load_settings


def nothing(*_: object) -> None:
    """Costs no more than a call."""


if __name__ == "__main__":
    for room, name in (
        (Drift, "observe"),
        (BucketCounts, "observe"),
        (BucketCounts, "observe_all"),
        (BucketCounts, "observe_array"),
        (Metrics, "request"),
    ):
        setattr(room, name, nothing)
    run(load_settings({"port": int(sys.argv[1])}))

"""A bundle as a function of Arrow record batches: for Spark, Ray, DuckDB, polars, and whatever speaks Arrow.

docs/engines.md shows it in each.
"""

from collections.abc import Collection
from pathlib import Path

try:
    from nearnorm.models.bundle.bundle import read_bundle
    from nearnorm.service.batch.record_batches import BatchScorer
    from nearnorm.service.inference.engine import Device
    from nearnorm.service.verdict.offline import by_threshold, without_ledger
except ModuleNotFoundError as error:
    raise ImportError(
        f"nearnorm.batch needs the module {error.name}, which is not installed: "
        "pip install 'nearnorm[cpu,arrow]'"
    ) from error
from nearnorm.models.errors import ConfigError

__all__ = ["BatchScorer", "scorer"]


def scorer(
    bundle: str | Path,
    *,
    budget: str | None = None,
    threshold: float | None = None,
    keep: Collection[str] = (),
    device: Device = "auto",
    threads: int = 1,
    allow_missing: bool = False,
) -> BatchScorer:
    """The bundle in a folder as a function: an iterator of record batches in, one of answers out.

    The answers of a batch are a row for each of its rows: `keep`'s columns as they came, then those of
    `nearnorm score`: score, percentile, anomaly, prototype, distance, reconstruction_error, novel,
    novel_distance, error. They are the numbers of `/score`, within the manifest's tolerance. A row that is
    refused has an `error`, and nulls.

    A score of `threshold` or more is an anomaly (`GET /policy` tells the service's), or a `budget` such as
    "2% of normal" decides; 1% of normal where neither is given. `threads` work on one batch: engines start a
    process for each CPU, so one is enough.

    It can be pickled, bundle and all; a process opens one session for all copies.

    Raises BundleError for what is no bundle; ConfigError for a budget or threshold that cannot be, a device
    that is not there.
    """
    opened = read_bundle(Path(bundle))
    if threshold is None:
        verdict = without_ledger(opened.manifest, budget)
    elif budget is None:
        verdict = by_threshold(opened.manifest, threshold)
    else:
        raise ConfigError("give a budget or a threshold, not both")
    return BatchScorer(opened, verdict, device, threads, tuple(keep), allow_missing)

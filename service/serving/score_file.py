"""`nearnorm score`: a file's rows through the service's own engine, verdict and numbers."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.files.find import refuse_overwriting
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.read import ignore, read_table
from nearnorm.models.data.match import absent_columns
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.inference.batches import score_rows
from nearnorm.service.inference.engine import Device, Engine, cpus
from nearnorm.service.records.encoder import Rows
from nearnorm.service.verdict.novelty import Novel, Novelty, NoveltyWatch
from nearnorm.service.verdict.offline import OfflineVerdict

WATCHED_TOGETHER = 1024
"""Rows after which novelty that has become usual ceases to alert: those of the service's largest batch."""

MEND = " --allow-missing takes it all the same"


def score_file(
    bundle: Bundle,
    verdict: OfflineVerdict,
    data: str,
    out: Path,
    device: Device,
    threads: int | None,
    keep: Collection[str] = (),
    file_format: FileFormat = FOUND,
    allow_missing: bool = False,
    warn: Callable[[str], object] = ignore,
) -> None:
    """Write one row of scores for each row of `data`, the columns `keep` of it before them; a row with an
    error gets the error and no score.

    `allow_missing`: score it although most of the model's columns are not in it. Raises BundleError,
    DataError, ConfigError.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: its name must end in .csv or .parquet")
    refuse_overwriting(out, data)
    core = bundle.manifest.core
    engine = Engine(bundle, device, threads or cpus())
    text = {f.name for f in core.features.categorical}
    kept_as_text = set(keep) - {f.name for f in core.features.numeric}
    given = read_table(data, text | kept_as_text, file_format, warn, {*keep, *core.features.names})
    for sentence in absent_columns(data, given.column_names, core.features, allow_missing, MEND):
        warn(sentence)
    arrays = to_arrays(given, core.features)
    rows = Rows(arrays.numeric, arrays.codes)
    outputs = score_rows(engine, rows)
    percentile, anomaly = verdict.ranks.judge(outputs.score)
    novelty = Novelty(core)
    found_novel = novelty.find(rows, outputs.distance)
    novel = {row: signals for row, signals in found_novel.items() if row not in arrays.errors}
    if verdict.alert_on_novel:
        _alert(anomaly, novel, NoveltyWatch())
    names: list[str | None] = [None] * len(rows)
    far = np.zeros(len(rows), bool)
    for row, signals in novel.items():
        names[row] = ", ".join(novelty.features(signals)) or None
        far[row] = novelty.distance in signals
    failed = np.zeros(len(arrays.numeric), bool)
    failed[list(arrays.errors)] = True
    errors = [arrays.errors.get(i) for i in range(len(failed))]
    found = {
        "score": pa.array(outputs.score.astype(np.float64), mask=failed),
        "percentile": pa.array(percentile, mask=failed),
        "anomaly": pa.array(anomaly, mask=failed),
        "prototype": pa.array(outputs.prototype, mask=failed),
        "distance": pa.array(outputs.distance.astype(np.float64), mask=failed),
        "reconstruction_error": pa.array(outputs.reconstruction_error.astype(np.float64), mask=failed),
        "novel": pa.array(names, pa.string(), mask=failed),
        "novel_distance": pa.array(far, mask=failed),
        "error": pa.array([None if e is None else f"{e.field}: {e.detail}" for e in errors], pa.string()),
    }
    write_table(pa.table(_kept(given, data, keep, found) | found), out)


def _alert(anomaly: NDArray[np.bool_], novel: Novel, watch: NoveltyWatch) -> None:
    """What is novel is an anomaly, until there is so much of it that it is how the traffic is."""
    for start in range(0, len(anomaly), WATCHED_TOGETHER):
        part = {row: novel[row] for row in range(start, start + WATCHED_TOGETHER) if row in novel}
        anomaly[watch.alerting(part)] = True
        watch.count(min(WATCHED_TOGETHER, len(anomaly) - start), part)


def _kept(
    given: pa.Table, data: str, keep: Collection[str], found: Collection[str]
) -> dict[str, pa.ChunkedArray]:
    """Columns of the input, as they came."""
    kept = {}
    for name in keep:
        if name not in given.column_names:
            raise DataError(f"--keep {name}: {data} has no such column")
        if name in found:
            raise ConfigError(f"--keep {name}: the output has a column of that name: rename yours")
        column = given.column(name)
        kept[name] = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return kept


def write_table(table: pa.Table, out: Path) -> None:
    try:
        if out.suffix == ".csv":
            pa_csv.write_csv(table, out)
        else:
            pq.write_table(table, out)
    except (OSError, pa.ArrowException) as error:  # a list has no place in CSV
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{out} cannot be written: {reason}") from None

"""`nearnorm score`: a file's rows through the service's own engine, policy and numbers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.models.conformal import Ranks, default_policy
from nearnorm.models.data.tables import read_table, to_arrays
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.inference.batches import score_rows
from nearnorm.service.inference.engine import Device, Engine, cpus
from nearnorm.service.records.encoder import Rows
from nearnorm.service.verdict.novelty import Novelty


def score_file(bundle_folder: Path, data: str, out: Path, device: Device, threads: int | None) -> None:
    """Write one row of scores for each row of `data`; a row with an error gets the error and no score.

    Raises BundleError, DataError, ConfigError.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: its name must end in .csv or .parquet")
    bundle = read_bundle(bundle_folder)
    core = bundle.manifest.core
    engine = Engine(bundle, device, threads or cpus())
    ranks = Ranks(core.reference.scores, default_policy(core.reference.rows))
    text = [f.name for f in core.features.categorical]
    arrays = to_arrays(read_table(data, text), core.features)
    rows = Rows(arrays.numeric, arrays.codes)
    outputs = score_rows(engine, rows)
    percentile, anomaly = ranks.judge(outputs.score)
    novelty = Novelty(core)
    novel = novelty.find(rows, outputs.distance)
    anomaly[list(novel)] = True
    names: list[str | None] = [None] * len(rows)
    far = np.zeros(len(rows), bool)
    for row, signals in novel.items():
        names[row] = ", ".join(novelty.features(signals)) or None
        far[row] = novelty.distance in signals
    failed = np.zeros(len(arrays.numeric), bool)
    failed[list(arrays.errors)] = True
    errors = [arrays.errors.get(i) for i in range(len(failed))]
    table = pa.table(
        {
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
    )
    write_table(table, out)


def write_table(table: pa.Table, out: Path) -> None:
    try:
        if out.suffix == ".csv":
            pa_csv.write_csv(table, out)
        else:
            pq.write_table(table, out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}") from None

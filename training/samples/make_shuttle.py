"""Make the Shuttle sample from the wheel of river, which carries Statlog (Shuttle):

    pip download --no-deps river==0.26.1
    python -m nearnorm.training.samples.make_shuttle river-0.26.1-*.whl

30% of the 49,097 records keep their labels, for reports alone. Of the others 5,000 that are truly normal are
the reference, as if somebody had looked through them; the rest is trained on, with 30 anomalies labelled
and all other labels hidden. No record is in two of the files.
"""

import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

LABELLED = 30
REFERENCE = 5_000
HELD_OUT = 0.3
SEED = 0


def read_wheel(wheel: Path) -> pa.Table:
    """The records with their column `anomaly`, which is 0 or 1."""
    with zipfile.ZipFile(wheel) as archive:
        return pa_csv.read_csv(io.BytesIO(gzip.decompress(archive.read("river/datasets/shuttle.csv.gz"))))


def make(records: pa.Table, folder: Path) -> None:
    """Write shuttle_train.parquet, shuttle_reference.parquet and shuttle_held_out.parquet."""
    rng = np.random.default_rng(SEED)
    truth = records.column("anomaly").to_numpy()
    features = records.drop_columns(["anomaly"])
    held_out = np.zeros(len(truth), bool)
    for label in (0, 1):
        rows = np.flatnonzero(truth == label)
        held_out[rng.choice(rows, round(HELD_OUT * len(rows)), replace=False)] = True
    rest = np.flatnonzero(~held_out)
    known = rng.choice(rest[truth[rest] == 1], LABELLED, replace=False)
    reference = np.sort(rng.choice(rest[truth[rest] == 0], REFERENCE, replace=False))
    _write(features.take(reference), folder / "shuttle_reference.parquet")
    train = np.setdiff1d(rest, reference)
    labels = pa.array(np.ones(len(train)), pa.int8(), mask=~np.isin(train, known))
    _write(features.take(train).append_column("label", labels), folder / "shuttle_train.parquet")
    kept = np.flatnonzero(held_out)
    labels = pa.array(truth[kept], pa.int8())
    _write(features.take(kept).append_column("label", labels), folder / "shuttle_held_out.parquet")


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=19)


if __name__ == "__main__":
    make(read_wheel(Path(sys.argv[1])), Path(__file__).parent)

"""`nearnorm score`: a file's rows through the batch scorer."""

from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.files.find import refuse_overwriting
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.read import ignore, read_table
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.record_batches import BatchScorer
from nearnorm.service.inference.engine import Device
from nearnorm.service.verdict.novelty import NoveltyWatch
from nearnorm.service.verdict.offline import OfflineVerdict


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
    features = bundle.manifest.core.features
    score = BatchScorer(bundle, verdict, device, threads, tuple(keep), allow_missing, data, warn)
    text = {f.name for f in features.categorical}
    kept_as_text = set(keep) - {f.name for f in features.numeric}
    given = read_table(data, text | kept_as_text, file_format, warn, {*keep, *features.names})
    schema = score.answers(given.schema)
    write_table(pa.Table.from_batches(score(given, NoveltyWatch()), schema), out)


def write_table(table: pa.Table, out: Path) -> None:
    try:
        if out.suffix == ".csv":
            pa_csv.write_csv(table, out)
        else:
            pq.write_table(table, out)
    except (OSError, pa.ArrowException) as error:  # a list has no place in CSV
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{out} cannot be written: {reason}") from None

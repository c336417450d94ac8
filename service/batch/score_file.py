"""`nearnorm score`: a file's rows through the batch scorer, and its columns beside them."""

from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.files.find import refuse_overwriting
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.read import ignore, read_table
from nearnorm.models.data.match import absent_columns
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.scorer import Scorer
from nearnorm.service.inference.engine import Device
from nearnorm.service.verdict.novelty import NoveltyWatch
from nearnorm.service.verdict.offline import OfflineVerdict

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
    features = bundle.manifest.core.features
    scorer = Scorer(bundle, verdict, device, threads)
    text = {f.name for f in features.categorical}
    kept_as_text = set(keep) - {f.name for f in features.numeric}
    given = read_table(data, text | kept_as_text, file_format, warn, {*keep, *features.names})
    for sentence in absent_columns(data, given.column_names, features, allow_missing, MEND):
        warn(sentence)
    scored = scorer.score(given, NoveltyWatch())
    found = scorer.columns(scored)
    write_table(pa.table(_kept(given, data, keep, found) | found), out)


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

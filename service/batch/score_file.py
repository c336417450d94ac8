"""`nearnorm score`: a file's rows through the batch scorer."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nearnorm.models.data.files.find import refuse_overwriting
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.read import read_table
from nearnorm.models.errors import DataError
from nearnorm.service.batch.record_batches import BatchScorer
from nearnorm.service.verdict.novelty import NoveltyWatch


def score_file(score: BatchScorer, data: str, out: Path, file_format: FileFormat = FOUND) -> None:
    """Write one row of scores for each row of `data`, as .csv or .parquet; a row with an error gets the error
    and no score.

    Raises BundleError, DataError, ConfigError.
    """
    refuse_overwriting(out, data)
    given = read_table(data, score.texts, file_format, score.warn, score.used)
    write_table(pa.Table.from_batches(score(given, NoveltyWatch())), out)


def write_table(table: pa.Table, out: Path) -> None:
    try:
        if out.suffix == ".csv":
            pa_csv.write_csv(table, out)
        else:
            pq.write_table(table, out)
    except (OSError, pa.ArrowException) as error:  # a list has no place in CSV
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{out} cannot be written: {reason}") from None

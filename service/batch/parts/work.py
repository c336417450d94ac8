"""One part: its rows read, scored and written, wherever this runs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.data.files.read import ignore
from nearnorm.models.errors import DataError, NearnormError
from nearnorm.service.batch.parts.destination import ENDING, Destination
from nearnorm.service.batch.parts.plan import OutputPart
from nearnorm.service.batch.parts.rows import open_rows
from nearnorm.service.batch.record_batches import BatchScorer

ERRORS = "_errors/"
"""Where the rows with errors of a part are told, a line of JSON each, if there are any."""
_COUNTS = b"nearnorm"


class Counts(Struct, frozen=True):
    """Of a part's rows: how many, how many with an error, how many anomalies."""

    rows: int = 0
    errors: int = 0
    anomalies: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.rows + other.rows, self.errors + other.errors, self.anomalies + other.anomalies)


class PartResult(Struct, frozen=True):
    """What became of a part: its counts, or why it was not written. `hopeless`: no other one will be."""

    name: str
    counts: Counts | None = None
    why: str = ""
    hopeless: bool = False


class PartScorer(Struct, frozen=True):
    """Scores one part after the other. It can be pickled; the same part may be worked on in two places."""

    score: BatchScorer
    destination: Destination
    file_format: FileFormat

    def __call__(self, part: OutputPart) -> PartResult:
        """What a user can mend is told in the result, and never raised."""
        try:
            return PartResult(part.name, self._written(part))
        except DataError as error:
            return PartResult(part.name, why=str(error))
        except NearnormError as error:
            return PartResult(part.name, why=str(error), hopeless=True)

    def _written(self, part: OutputPart) -> Counts:
        """The rows with errors first: a part that is there is done."""
        score = replace(self.score, source=part.file, warn=ignore)
        with (
            open_rows(part, score, self.file_format) as rows,
            self.destination.draft() as draft,
            self.destination.draft() as errors,
        ):
            answers = score.answers(rows.schema)
            with _writing(self.destination.url), errors.open("wb") as told:
                counts = _write(draft, answers, _telling(score(rows.batches), part.file, rows.first, told))
            if counts.errors:
                self.destination.keep(errors, ERRORS + part.name.removesuffix(ENDING) + ".ndjson")
            self.destination.keep(draft, part.name)
            return counts


def read_counts(destination: Destination, name: str) -> Counts:
    """Those that a part holds itself. Raises DataError for one that is no part."""
    try:
        with destination.open(name) as opened, pq.ParquetFile(opened) as reader:
            return msgspec.json.decode(reader.metadata.metadata[_COUNTS], type=Counts)
    except (pa.ArrowException, OSError, KeyError, TypeError, msgspec.DecodeError):
        raise DataError(f"{destination.url}/{name} is no part of a run: remove it") from None


def _write(draft: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Counts:
    counts = Counts()
    with pq.ParquetWriter(draft, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            anomalies = pc.sum(batch.column("anomaly")).as_py() or 0
            counts += Counts(len(batch), len(batch) - batch.column("error").null_count, anomalies)
        writer.add_key_value_metadata({_COUNTS: msgspec.json.encode(counts)})
    return counts


def _telling(
    batches: Iterable[pa.RecordBatch], file: str, first: int, told: BinaryIO
) -> Iterator[pa.RecordBatch]:
    """The batches; of those of their rows that have an error a line each."""
    for batch in batches:
        errors = batch.column("error")
        if errors.null_count < len(batch):
            for row in pc.indices_nonzero(errors.is_valid()).to_pylist():
                line = {"file": file, "row": first + row, "error": errors[row].as_py()}
                told.write(msgspec.json.encode(line) + b"\n")
        first += len(batch)
        yield batch


@contextmanager
def _writing(where: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{where} cannot be written: {str(error).splitlines()[0]}") from None

"""What a run will write: a part for each file that is read, or for some row groups of a large one.

A part's name tells all that it is made of. By names a run that was interrupted finds which parts are done,
and one over more files scores the new ones alone.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from nearnorm.models.data.files.find import DataFile, before_pattern, find_files
from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.data.files.parquet_file import cut
from nearnorm.models.errors import DataError
from nearnorm.service.batch.record_batches import BatchScorer

PART_BYTES = 128 * 2**20
"""Of a Parquet file: a larger one is cut between its row groups."""
_DIGITS = 16


class OutputPart(Struct, frozen=True):
    """`name` is that of the output, below the folder of all: the input's folders, its stem and a digest.
    `groups`: the first row group of the input and the one after the last; None: all of it."""

    name: str
    file: str
    partitions: dict[str, str]
    groups: tuple[int, int] | None = None


def plan(
    source: str, score: BatchScorer, file_format: FileFormat, part_bytes: int = PART_BYTES
) -> list[OutputPart]:
    """In the order of the files' names. Raises DataError, ConfigError where nothing is found."""
    by, base = _decided_by(score, file_format), _base(source)
    parts = []
    for file in find_files(source):
        below = file.name.removeprefix(base)
        for groups in _cut(file, part_bytes):
            made_of = msgspec.json.encode([below, file.mark, groups, by])
            name = f"{_stem(below)}-{sha256(made_of).hexdigest()[:_DIGITS]}.parquet"
            parts.append(OutputPart(name, file.name, file.partitions, groups))
    return parts


def _decided_by(score: BatchScorer, file_format: FileFormat) -> list[object]:
    """What answers come from, beside the data."""
    verdict = score.verdict
    reference = sha256(verdict.reference.tobytes()).hexdigest()
    rule = [score.bundle.version, verdict.threshold, verdict.alert_on_novel, reference]
    return [rule, score.keep, file_format.model_dump()]


def _base(source: str) -> str:
    """The folder from which outputs' folders are counted: the one that is named, or all before a pattern."""
    if "://" in source:
        return before_pattern(source) + "/"
    path = Path(source)
    named = path if path.is_dir() else path.parent
    base = named if path.exists() else Path(before_pattern(source))
    return "" if base == Path() else f"{base}/".replace("//", "/")


def _stem(below: str) -> str:
    folders, slash, name = below.rpartition("/")
    return folders + slash + name.split(".")[0]


def _cut(file: DataFile, part_bytes: int) -> Iterator[tuple[int, int] | None]:
    """The row groups of each part."""
    sizes = _sizes(file) if file.is_parquet and file.size > part_bytes else []
    if len(sizes) < 2:
        yield None
        return
    for groups in cut(sizes, part_bytes):
        yield groups.start, groups.stop


def _sizes(file: DataFile) -> list[int]:
    """Bytes of each row group; none where the file cannot be read, which its only part will tell."""
    try:
        with file.open() as opened, pq.ParquetFile(opened) as reader:
            groups = [reader.metadata.row_group(i) for i in range(reader.metadata.num_row_groups)]
    except (pa.ArrowException, OSError, DataError):
        return []
    return [sum(g.column(j).total_compressed_size for j in range(g.num_columns)) for g in groups]

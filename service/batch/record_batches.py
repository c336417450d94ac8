"""Arrow record batches in, the service's answers out: the one function that files and engines score by."""

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
from msgspec import Struct

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.files.plain import TEXT, plain
from nearnorm.models.data.match import absent_columns
from nearnorm.models.data.spelling import spelled
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.scorer import ANSWERS, Scorer
from nearnorm.service.inference.engine import Device
from nearnorm.service.verdict.novelty import NoveltyWatch
from nearnorm.service.verdict.offline import OfflineVerdict

MEND = " --allow-missing (allow_missing=True) takes it all the same"
GIVE = "give an iterator of pyarrow.RecordBatch, or a table"
MOST_SESSIONS = 4
"""That a process keeps open, the newest ones: an engine's worker has one."""


def _told(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)


class BatchScorer(Struct, frozen=True, eq=False):
    """Scores record batches: `scorer(batches)` gives a batch of answers for each, a row for each of its rows.

    It holds the bundle itself, not its path, so that it can be pickled to any machine; copies of it share one
    session in each process. `keep` names columns that stand before the answers as they came. What is novel is
    an anomaly, whatever other rows there are: no answer depends on where batches or parts of the data end.
    """

    bundle: Bundle
    verdict: OfflineVerdict
    device: Device = "auto"
    threads: int | None = 1
    keep: tuple[str, ...] = ()
    allow_missing: bool = False
    source: str = "the data"
    warn: Callable[[str], object] = _told

    def __call__(
        self,
        batches: Any,  # noqa: ANN401 - many libraries' frames
        watch: NoveltyWatch | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """`batches`: record batches one after the other, or whatever gives such by `__arrow_c_stream__`: an
        Arrow table or reader, a frame of polars or DuckDB. Columns are found by name, in any order. Their
        schema is checked when it is first seen, and again only where it changes.

        With a `watch`, novelty ceases to alert once there is much of it, as in the service.

        Raises DataError for columns that are not the model's, ConfigError for those that cannot be kept,
        BundleError for a model that does not answer here as it did when it was made.
        """
        session = _session(self)
        columns = None
        for batch in _stream(batches):
            if columns is None or batch.schema != columns.given:
                columns = self._columns(batch.schema)
            if not batch.num_rows:
                yield pa.RecordBatch.from_pylist([], columns.answers)
                continue
            found = session.columns(session.score(columns.read(batch), watch))
            yield pa.record_batch([*columns.kept(batch), *found.values()], schema=columns.answers)

    def answers(self, given: pa.Schema) -> pa.Schema:
        """The schema of the answers to batches of a schema. Warns and raises as a call does."""
        return self._columns(given).answers

    @property
    def used(self) -> set[str]:
        """The columns that are read of the data, as far as they are there."""
        return {*self.bundle.manifest.core.features.names, *self.keep}

    @property
    def texts(self) -> set[str]:
        """Those that are texts in files where only the reader can tell."""
        features = self.bundle.manifest.core.features
        return {f.name for f in features.categorical} | (set(self.keep) - {f.name for f in features.numeric})

    def _columns(self, given: pa.Schema) -> "_Columns":
        features = self.bundle.manifest.core.features
        names = spelled(given.names, self.used)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{self.source} has a column twice: {', '.join(twice)}")
        for sentence in absent_columns(self.source, names, features, self.allow_missing, MEND):
            self.warn(sentence)
        places = {name: place for place, name in enumerate(names)}
        known = [name for name in names if name in features.names]
        return _Columns(
            given=given,
            known=known,
            places=[places[name] for name in known],
            kept_places=[self._place(name, places) for name in self.keep],
            answers=pa.schema([*(_field(name, given.field(places[name])) for name in self.keep), *ANSWERS]),
        )

    def _place(self, name: str, places: dict[str, int]) -> int:
        if name not in places:
            raise DataError(f"{self.source} has no column {name!r} to keep")
        if name in ANSWERS.names:
            raise ConfigError(f"column {name!r} cannot be kept, as an answer is called so: rename yours")
        return places[name]


class _Columns(Struct, frozen=True):
    """Where in batches of a schema the model's columns are, and those that are kept."""

    given: pa.Schema
    known: list[str]
    places: list[int]
    kept_places: list[int]
    answers: pa.Schema

    def read(self, batch: pa.RecordBatch) -> pa.Table:
        """The model's columns, by reference: numbers are copied once, into the model's own input."""
        table = pa.Table.from_batches([batch]).select(self.places).rename_columns(self.known)
        for place, column in enumerate(table.columns):
            if column.type != TEXT and (found := plain(column)) is not column:
                table = table.set_column(place, self.known[place], found)
        return table

    def kept(self, batch: pa.RecordBatch) -> list[pa.Array]:
        columns = [batch.column(place) for place in self.kept_places]
        return [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in columns]


def _field(name: str, field: pa.Field) -> pa.Field:
    kind = field.type
    return pa.field(name, kind.value_type if pa.types.is_dictionary(kind) else kind)


def _stream(batches: Any) -> Iterable[pa.RecordBatch]:  # noqa: ANN401
    if isinstance(batches, pa.RecordBatch):
        return [batches]
    if hasattr(batches, "__arrow_c_stream__"):
        reader: Iterable[pa.RecordBatch] = pa.RecordBatchReader.from_stream(batches)
        return reader
    return map(_checked, batches)


def _checked(batch: object) -> pa.RecordBatch:
    if not isinstance(batch, pa.RecordBatch):
        raise DataError(f"record batches are scored, and a {type(batch).__name__} is none: {GIVE}")
    return batch


_sessions: dict[object, Scorer] = {}
_opening = threading.Lock()


def _session(scorer: BatchScorer) -> Scorer:
    """The process's own session for a bundle, a verdict and a device; a forked child opens another,
    as threads are not forked."""
    verdict = scorer.verdict
    by = (verdict.threshold, verdict.alert_on_novel, verdict.reference.tobytes())
    key = (os.getpid(), scorer.bundle.version, by, scorer.device, scorer.threads)
    with _opening:
        if key not in _sessions:
            found = Scorer(scorer.bundle, verdict, scorer.device, scorer.threads)
            while len(_sessions) >= MOST_SESSIONS:
                del _sessions[next(iter(_sessions))]
            _sessions[key] = found
        return _sessions[key]

"""A label acts at once: a record equal to a confirmed one carries the verdict in its next score.

Two spellings of "equal" (models/data/digest.py): a digest does not depend on a model's codes, so it is what
the ledger stores; a row's key is the bytes of its arrays under one schema, which costs half a microsecond on
the hot path. A label acts in another version where that reads its record as the values that were labelled.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from nearnorm.models.data.clock import as_compared
from nearnorm.models.data.digest import record_digest, sorted_json
from nearnorm.models.data.schema import FeatureSchema, TimeColumns
from nearnorm.service.ledger.tables.feedback.labels import Standing
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope

_AT_ONCE = 1_000  # records read by a schema


def row_keys(rows: Rows, times: TimeColumns) -> list[bytes]:
    """One key a row: its numbers' and codes' bytes, of times the hour of the week. Unknown categories are not
    yet told apart."""
    numeric = (as_compared(rows.numeric, times) if times.columns else rows.numeric) + 0.0
    numeric[np.isnan(numeric)] = np.nan  # one NaN among the many that there are
    cells = np.concatenate([numeric.view(np.int64), rows.codes], axis=1)
    keys: list[bytes] = cells.view(f"V{cells.itemsize * cells.shape[1]}").ravel().tolist()
    return keys


def _spelled(unknown: Mapping[str, str] | None) -> bytes:
    return sorted_json(unknown) if unknown else b""


class _Table:
    """The verdicts on records as one schema reads them."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._encoder = Encoder(schema, _AT_ONCE)
        self._names = [feature.name for feature in schema.scored]
        self._keys: dict[str, bytes] = {}
        self._alike: dict[bytes, dict[str, Standing]] = {}  # where several are read as one
        self._own: dict[str, bool] = {}  # of those, whether they are read as they were labelled
        self.by_key: dict[bytes, Standing] = {}
        self.unfit: set[str] = set()

    def take(self, standings: Sequence[Standing]) -> None:
        """Put the verdicts in the place of what was known of their records.

        What is said of records that are read alike is summed up at the end, once: there may be thousands.
        """
        touched: set[bytes] = set()
        for start in range(0, len(standings), _AT_ONCE):
            part = standings[start : start + _AT_ONCE]
            for standing, key in zip(part, self._read(part), strict=True):
                touched |= self._leave_out(standing.digest)
                if standing.verdict == "none":
                    continue
                if key is None:
                    self.unfit.add(standing.digest)
                else:
                    touched |= self._put(standing, key)
        for key in touched:
            self._settle(key)

    def _read(self, standings: Sequence[Standing]) -> list[bytes | None]:
        """The keys of records, read as /score would; None for one that this schema reads otherwise.

        A label speaks of the values that were labelled: where the schema has a column that it had not, or
        the value of one does not fit or becomes a missing one, and where nothing of it is left, it is none.
        """
        records = [_decoded(standing.record) for standing in standings]
        encoded = self._encoder.encode(Envelope(records=records))
        found: list[bytes | None] = [None] * len(records)
        for place, key in zip(encoded.places(), _keys_of(encoded, self._encoder.schema.times), strict=True):
            record = records[place]
            missing = {name for name in self._names if record.get(name) is None}
            same = missing == set(encoded.imputed.get(place, ())) and record.keys() >= set(self._names)
            if same and len(missing) < len(self._names):
                found[place] = key
        return found

    def _put(self, standing: Standing, key: bytes) -> set[bytes]:
        """The key, where it is to be settled."""
        self._keys[standing.digest] = key
        other = self.by_key.get(key)
        if other is None:
            self.by_key[key] = standing
            return set()
        self._alike.setdefault(key, {other.digest: other})[standing.digest] = standing
        return {key}

    def _leave_out(self, digest: str) -> set[bytes]:
        """The record's key, where it is to be settled."""
        self.unfit.discard(digest)
        self._own.pop(digest, None)
        key = self._keys.pop(digest, None)
        if key is None:
            return set()
        if key not in self._alike:
            del self.by_key[key]
            return set()
        del self._alike[key][digest]
        return {key}

    def _settle(self, key: bytes) -> None:
        alike = self._alike[key]
        if len(alike) > 1:
            self.by_key[key] = self._sum(alike)
            return
        del self._alike[key]
        if alike:
            (self.by_key[key],) = alike.values()
        else:
            del self.by_key[key]

    def _sum(self, alike: Mapping[str, Standing]) -> Standing:
        """What was said of records that this schema does not tell apart, or reads as one it was given for."""
        self._note_own([standing for standing in alike.values() if standing.digest not in self._own])
        own = [standing for standing in alike.values() if self._own[standing.digest]]
        said = own or list(alike.values())
        newest = max(said, key=lambda standing: standing.change)
        agree = len({standing.verdict for standing in said}) == 1
        return newest if agree else replace(newest, verdict="conflict")

    def _note_own(self, standings: Sequence[Standing]) -> None:
        """Which of them this schema reads as what was labelled, no more and no less."""
        for start in range(0, len(standings), _AT_ONCE):
            part = standings[start : start + _AT_ONCE]
            encoded = self._encoder.encode(Envelope(records=[_decoded(one.record) for one in part]))
            for row, place in enumerate(encoded.places()):
                digest = part[place].digest
                self._own[digest] = record_digest(self._encoder.record(encoded, row)) == digest


def _decoded(record: str) -> dict[str, Any]:
    """Empty for what is no record: nothing in the ledger may end the service."""
    try:
        found = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _keys_of(encoded: Encoded, times: TimeColumns) -> list[bytes]:
    keys = row_keys(encoded.rows, times)
    if encoded.unknown:
        places = encoded.places()
        keys = [key + _spelled(encoded.unknown.get(places[i])) for i, key in enumerate(keys)]
    return keys


class Matches:
    """The standing verdicts of one model's records, in memory. Written by threads, read by the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_digest: dict[str, Standing] = {}
        self._tables: dict[str, _Table] = {}

    def prepare(self, schema: FeatureSchema) -> None:
        """Make the table of a schema, before a model that uses it serves. The two newest are kept."""
        with self._lock:
            if schema.digest in self._tables:
                return
            table = _Table(schema)
            table.take([s for s in self._by_digest.values() if s.verdict != "none"])
            kept = list(self._tables)[-1:]
            self._tables = {name: self._tables[name] for name in kept} | {schema.digest: table}

    def learn(self, standings: Iterable[Standing]) -> None:
        """Take in changed verdicts; one older than what is known changes nothing."""
        with self._lock:
            new: dict[str, Standing] = {}
            for standing in standings:
                old = new.get(standing.digest) or self._by_digest.get(standing.digest)
                if old is None or old.change <= standing.change:
                    new[standing.digest] = standing
            for table in self._tables.values():
                table.take(list(new.values()))
            self._by_digest.update(new)

    def anomalies(self, digests: Iterable[str]) -> frozenset[str]:
        """Those of the records that stand as confirmed anomalies."""
        known = self._by_digest
        return frozenset(d for d in digests if d in known and known[d].verdict == "anomaly")

    def find(self, schema: FeatureSchema, encoded: Encoded) -> dict[int, Standing]:
        """Verdicts by the index of the row; costs nothing while there are no labels."""
        if not self._by_digest:
            return {}
        if schema.digest not in self._tables:
            self.prepare(schema)
        table = self._tables[schema.digest].by_key
        if not table:
            return {}
        return {i: table[key] for i, key in enumerate(_keys_of(encoded, schema.times)) if key in table}

    def unfit(self, schema: FeatureSchema) -> int:
        """Records whose verdict does not act by this schema, which reads them otherwise."""
        table = self._tables.get(schema.digest)
        return len(table.unfit) if table else 0

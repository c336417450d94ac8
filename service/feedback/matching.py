"""A label acts at once: a record equal to a confirmed one carries the verdict in its next score.

Two spellings of "equal" (models/digest.py): a digest does not depend on a model's codes, so it is what the
ledger stores; a row's key is the bytes of its arrays under one schema, which costs half a microsecond on the
hot path.
"""

import json
import threading
from collections.abc import Iterable, Mapping

import numpy as np

from nearnorm.models.digest import sorted_json
from nearnorm.models.schema import MISSING_CODE, UNKNOWN_CODE, FeatureSchema
from nearnorm.service.ledger.tables.labels import Standing
from nearnorm.service.records.encoder import Encoded, Rows


def row_keys(rows: Rows) -> list[bytes]:
    """One key a row: its numbers' and codes' bytes. Unknown categories are not yet told apart."""
    numeric = rows.numeric + 0.0
    numeric[np.isnan(numeric)] = np.nan  # one NaN among the many that there are
    cells = np.concatenate([numeric.view(np.int64), rows.codes], axis=1)
    keys: list[bytes] = cells.view(f"V{cells.itemsize * cells.shape[1]}").ravel().tolist()
    return keys


def _key_of(schema: FeatureSchema, standing: Standing) -> bytes:
    record = json.loads(standing.record)
    numbers = [record.get(f.name) for f in schema.numeric]
    texts = [(f, record.get(f.name)) for f in schema.categorical]
    codes = [MISSING_CODE if text is None else f.code_of.get(text, UNKNOWN_CODE) for f, text in texts]
    row = Rows(
        np.array([[np.nan if n is None else float(n) for n in numbers]]).reshape(1, len(numbers)),
        np.array([codes], np.int64).reshape(1, len(codes)),
    )
    unknown = {
        f.name: str(text) for (f, text), code in zip(texts, codes, strict=True) if code == UNKNOWN_CODE
    }
    return row_keys(row)[0] + _spelled(unknown)


def _spelled(unknown: Mapping[str, str] | None) -> bytes:
    return sorted_json(unknown) if unknown else b""


class Matches:
    """The standing verdicts of one model's records, in memory. Written by threads, read by the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_digest: dict[str, Standing] = {}
        self._tables: dict[str, dict[bytes, Standing]] = {}
        self._schemas: dict[str, FeatureSchema] = {}

    def prepare(self, schema: FeatureSchema) -> None:
        """Make the table of a schema, before a model that uses it serves. The two newest are kept."""
        with self._lock:
            if schema.digest in self._tables:
                return
            standing = [s for s in self._by_digest.values() if s.verdict != "none"]
            table = {_key_of(schema, s): s for s in standing}
            kept = list(self._tables)[-1:]
            self._tables = {name: self._tables[name] for name in kept} | {schema.digest: table}
            self._schemas = {name: self._schemas[name] for name in kept} | {schema.digest: schema}

    def learn(self, standings: Iterable[Standing]) -> None:
        """Take in changed verdicts; one older than what is known changes nothing."""
        with self._lock:
            for new in standings:
                old = self._by_digest.get(new.digest)
                if old is not None and old.change > new.change:
                    continue
                for name, table in self._tables.items():
                    if old is not None and old.verdict != "none":
                        table.pop(_key_of(self._schemas[name], old), None)
                    if new.verdict != "none":
                        table[_key_of(self._schemas[name], new)] = new
                self._by_digest[new.digest] = new

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
        table = self._tables[schema.digest]
        if not table:
            return {}
        keys = row_keys(encoded.rows)
        if encoded.unknown:
            places = encoded.places()
            keys = [key + _spelled(encoded.unknown.get(places[i])) for i, key in enumerate(keys)]
        return {i: table[key] for i, key in enumerate(keys) if key in table}

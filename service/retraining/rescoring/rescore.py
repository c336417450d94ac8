"""Logged events through a version: what it would have said of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.conformal import Policy, Ranks
from nearnorm.service.inference.batches import score_rows
from nearnorm.service.inference.engine import Device, Engine
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.records.encoded import Rows
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope


class Rescored(Struct, frozen=True):
    """The N events whose records fit the version, and for each its score, percentile and verdict there."""

    events: list[Event]
    rows: Rows
    score: NDArray[np.float32]
    percentile: NDArray[np.float64]
    anomaly: NDArray[np.bool_]


class Rescorer:
    """A version that scores again; `share` of normal traffic is its alert budget."""

    def __init__(self, bundle: Bundle, device: Device, threads: int | None, share: float, most: int) -> None:
        """`most` events come at once. Raises BundleError, ConfigError."""
        core = bundle.manifest.core
        self.engine = Engine(bundle, device, threads)
        self._ranks = Ranks(core.reference.scores, Policy(share))
        self._encoder = Encoder(core.features, most)

    def rescore(self, logged: Sequence[Event]) -> Rescored:
        """What the version says of `logged`, of which there is at least one."""
        places, rows = self._read([event.record for event in logged])
        fits = [logged[place] for place in places]
        if not fits:
            return Rescored([], rows, np.zeros(0, np.float32), np.zeros(0), np.zeros(0, bool))
        score = score_rows(self.engine, rows).score
        return Rescored(fits, rows, score, *self._ranks.judge(score))

    def judge_records(
        self, records: Sequence[dict[str, Any]]
    ) -> tuple[list[int], NDArray[np.float64], NDArray[np.bool_]]:
        """Of `records`, at least one: the places of those that fit the version, and for each its percentile
        and verdict there."""
        places, rows = self._read(records)
        if not places:
            return [], np.zeros(0), np.zeros(0, bool)
        return places, *self._ranks.judge(score_rows(self.engine, rows).score)

    def _read(self, records: Sequence[dict[str, Any]]) -> tuple[list[int], Rows]:
        encoded = self._encoder.encode(Envelope(records=list(records)))
        return list(encoded.places()), Rows(encoded.rows.numeric, encoded.rows.codes)

    def judge_rows(self, rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]]:
        """Of rows that were read by this version's schema, at least one: score, percentile and verdict."""
        score = score_rows(self.engine, rows).score
        return score, *self._ranks.judge(score)

    def judge(self, logged: Sequence[Event]) -> NDArray[np.bool_]:
        """Which of the events this version alerts on by the scores that they have already, being its own."""
        return self._ranks.judge(np.array([event.score for event in logged], np.float32))[1]

"""Where rows fall, counted: every signal that drift is watched in, as cells of one flat array."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import Core
from nearnorm.models.data.schema import MISSING_CODE, UNKNOWN_CODE
from nearnorm.service.drift.divergence import Floats, Integers

FAR_SHARE = 0.01  # of the reference lies beyond `distance_high`, its 99th percentile
_SCORE_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_SCORE, _DISTANCE = "score", "distance"


class Observed(Struct, frozen=True):
    """Scored rows. numeric [N, F] (NaN: missing), codes [N, C], similarity [N, K], the others [N].

    `event_ids` are those that can be looked up later, by row.
    """

    numeric: Floats
    codes: Integers
    score: NDArray[np.float32]
    prototype: Integers
    distance: NDArray[np.float32]
    similarity: NDArray[np.float32]
    event_ids: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: Integers) -> "Observed":
        """These rows, copied."""
        places = {row: place for place, row in enumerate(rows.tolist())} if self.event_ids else {}
        return Observed(
            self.numeric[rows],
            self.codes[rows],
            self.score[rows],
            self.prototype[rows],
            self.distance[rows],
            self.similarity[rows],
            {places[row]: event for row, event in self.event_ids.items() if row in places},
        )


def joined(parts: Sequence[Observed]) -> Observed:
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    return Observed(
        np.concatenate([part.numeric for part in parts]),
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.prototype for part in parts]),
        np.concatenate([part.distance for part in parts]),
        np.concatenate([part.similarity for part in parts]),
        {
            start + row: e
            for start, part in zip(starts, parts, strict=False)
            for row, e in part.event_ids.items()
        },
    )


class Signal(Struct, frozen=True):
    """What is watched: a feature by its name, or one of the model's own answers."""

    kind: str  # numeric, categorical, prototype, score or distance
    name: str


class SignalHistogram:
    """The cells of one model: its features, the nearest prototype, the score, and far or near.

    A numeric signal has its histogram's bins (bin i: edges[i-1] <= x < edges[i]) and a last cell for
    missing values; a categorical one has its codes.
    """

    def __init__(self, core: Core) -> None:
        reference = core.reference
        scores = np.sort(reference.scores)
        score_edges = _quantiles(scores, _SCORE_QUANTILES) if len(scores) else np.zeros(0)
        binned = np.bincount(np.searchsorted(score_edges, scores, "right"), minlength=len(score_edges) + 1)
        numeric = [(f.name, reference.numeric[f.name]) for f in core.features.numeric]
        coded = [
            (f.name, np.asarray(reference.categorical[f.name].shares)) for f in core.features.categorical
        ]

        self.signals = (
            *(Signal("numeric", name) for name, _ in numeric),
            Signal(_SCORE, _SCORE),
            Signal(_DISTANCE, _DISTANCE),
            *(Signal("categorical", name) for name, _ in coded),
            Signal("prototype", "prototype"),
        )
        edges = [np.asarray(h.edges) for _, h in numeric]
        edges += [
            score_edges,
            np.array([np.nextafter(np.float32(reference.distance_high), np.float32(np.inf))]),
        ]
        shares = [np.append(np.asarray(h.shares) * (1 - h.missing), h.missing) for _, h in numeric]
        shares += [np.append(binned / max(len(scores), 1), 0.0), np.array([1 - FAR_SHARE, FAR_SHARE, 0.0])]
        shares += [s for _, s in coded] + [np.asarray(reference.prototype_shares)]

        self.sizes = np.array([len(s) for s in shares])
        self.reference = np.concatenate(shares) * reference.rows
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        self._missing = (self.sizes[: len(edges)] - 1).astype(np.uint16)
        self._edges = np.full((max(len(e) for e in edges), len(edges)), np.inf)
        for column, values in enumerate(edges):
            self._edges[: len(values), column] = values

    def count(self, rows: Observed) -> Integers:
        """[cells] how many of the rows fall into each."""
        flat = (self.places(rows) + self._starts).ravel()
        return np.bincount(flat, minlength=len(self.reference))

    def places(self, rows: Observed) -> Integers:
        """[N, signals] which cell of a signal each row falls into, from 0."""
        values = np.column_stack([rows.numeric, rows.score, rows.distance])
        bins = np.zeros(values.shape, np.uint16)
        for edge in self._edges:
            bins += values >= edge
        bins = np.where(np.isnan(values), self._missing, bins)
        return np.column_stack([bins, rows.codes, rows.prototype])

    def share(self, counts: NDArray[np.generic], signal: int) -> Floats:
        """[cells of the signal] shares of the rows counted; zeros when there are none."""
        own: Floats = counts[self._starts[signal] :][: self.sizes[signal]].astype(np.float64)
        return own / max(float(own.sum()), 1.0)

    def missing(self, counts: NDArray[np.generic], signal: int) -> float:
        coded = self.signals[signal].kind == "categorical"
        return float(self.share(counts, signal)[MISSING_CODE if coded else -1])

    def unknown(self, counts: NDArray[np.generic], signal: int) -> float:
        return float(self.share(counts, signal)[UNKNOWN_CODE])


def _quantiles(ordered: Floats, shares: Sequence[float]) -> Floats:
    """The distinct ones. NumPy's own functions would load masked arrays, a fiftieth of a start."""
    found = np.interp(np.array(shares) * (len(ordered) - 1), np.arange(len(ordered)), ordered)
    distinct: Floats = found[np.diff(found, prepend=-np.inf) > 0]
    return distinct

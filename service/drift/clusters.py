"""New normal groups: rows far from every prototype that lie close together.

The newest far rows are kept, a fixed number of them. Each is placed by its distances to the K
prototypes: two embeddings are never nearer to each other than these differ (triangle inequality), so
rows that lie apart here do lie apart; rows that lie together here may still differ. It is a candidate,
for a person to look at: a burst of one attack looks the same.
"""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
from msgspec import Struct

from nearnorm.models.bundle.manifest import Core
from nearnorm.models.data.schema import FIRST_CODE
from nearnorm.models.data.times import spelled
from nearnorm.service.drift.divergence import Integers
from nearnorm.service.drift.histogram import FAR_SHARE, Observed, joined

KEPT = 256  # far rows kept
EXAMPLES = 10  # event ids shown of a candidate
_LEAST_ROWS = 50
_LEAST_SHARE = 0.02
_LEAST = np.finfo(np.float32).tiny  # a row so far away that its similarity is 0 is as far as this
_MARGIN = 5.0  # standard errors that the far share of unchanged traffic may lie above the reference's


class DenseRegion(Struct, frozen=True):
    """A dense region far from all groups. `share` is of all rows since the oldest far row kept.

    `typical` has the median of numeric features and the most frequent known category of the others.
    """

    rows: int
    share: float
    nearest: int
    distance: float
    since: datetime
    examples: tuple[str, ...]
    typical: dict[str, float | str | None]


class Clusters:
    """Far rows of one model, the newest KEPT of them."""

    def __init__(self, core: Core) -> None:
        self._features = core.features
        self._high = core.reference.distance_high
        reference = max(core.reference.rows, 1)
        self._least_share = max(_LEAST_SHARE, FAR_SHARE + _MARGIN * (FAR_SHARE / reference) ** 0.5)
        self._far: Observed | None = None
        self._positions = np.zeros(0, np.int64)
        self._times: list[datetime] = []
        self._seen = 0

    def add(self, rows: Observed, at: datetime) -> None:
        far = np.flatnonzero(rows.distance > self._high)[-KEPT:]
        if len(far):
            known = [self._far] if self._far else []
            both = joined([*known, rows.take(far)])
            self._far = both.take(np.arange(len(both))[-KEPT:])
            self._positions = np.concatenate([self._positions, self._seen + far])[-KEPT:]
            self._times = (self._times + [at] * len(far))[-KEPT:]
        self._seen += len(rows)

    @property
    def count(self) -> int:
        """How many candidates there are: cheaper than to describe them."""
        return sum(1 for _ in self._dense_regions())

    def candidates(self) -> list[DenseRegion]:
        """The largest first; none while far rows are as few as among reference rows."""
        far = self._far
        return (
            [self._candidate(far.take(members), members) for members in self._dense_regions()] if far else []
        )

    def _dense_regions(self) -> Iterator[Integers]:
        """The rows of each, by their places among those kept."""
        if self._far is None:
            return
        least = max(_LEAST_ROWS, self._least_share * self._span)
        similarity = np.maximum(self._far.similarity, _LEAST)  # 1 / (1 + distance^2)
        place = np.sqrt(np.maximum(1 / similarity - 1, 0))
        near = np.ones((len(place), len(place)), bool)
        for one in place.T:
            near &= np.abs(one[:, None] - one) <= self._high / 2  # a known group reaches as far as that
        left = np.ones(len(place), bool)
        while True:
            neighbours = np.count_nonzero(near & left, axis=1) * left
            centre = int(neighbours.argmax())
            if neighbours[centre] < least:
                return
            members = np.flatnonzero(near[centre] & left)
            left[members] = False
            yield members

    @property
    def _span(self) -> int:
        """Rows since the oldest far row kept."""
        return self._seen - int(self._positions[0])

    def _candidate(self, rows: Observed, members: Integers) -> DenseRegion:
        newest = sorted(rows.event_ids, reverse=True)[:EXAMPLES]
        return DenseRegion(
            rows=len(rows),
            share=len(rows) / self._span,
            nearest=int(np.bincount(rows.prototype).argmax()),
            distance=float(np.median(rows.distance)),
            since=self._times[members[0]],
            examples=tuple(rows.event_ids[row] for row in newest),
            typical=self._typical(rows),
        )

    def _typical(self, rows: Observed) -> dict[str, float | str | None]:
        typical: dict[str, float | str | None] = {}
        for column, feature in enumerate(self._features.numeric):
            present = rows.numeric[:, column]
            present = present[~np.isnan(present)]
            middle = float(np.median(present)) if len(present) else None
            typical[feature.name] = spelled(middle, feature.format) if middle and feature.format else middle
        for column, feature in enumerate(self._features.categorical):
            code = int(np.bincount(rows.codes[:, column]).argmax())
            typical[feature.name] = feature.categories[code - FIRST_CODE] if code >= FIRST_CODE else None
        return typical

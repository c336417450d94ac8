"""Why a record looks strange: the values without which its score would be lower.

Of each record the features are named whose replacement by the normal value of its nearest group takes most
from the score, or lets it be rebuilt better (occlusion.py), beside what that group has. A value is odd where
the model could not rebuild it from what the group shares (residual over the 99th percentile of reference
rows), where its number is outside the group's 5th to 95th percentile, or where its category is none of the
group's frequent ones; oddest where nobody has seen the like.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import CategoryProfile, Core, NumericProfile, SeenRange
from nearnorm.models.data.clock import HOUR, around, hours
from nearnorm.models.data.schema import FIRST_CODE, MISSING_CODE, UNKNOWN_CODE, Feature, Kind
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.records.shapes import Reason
from nearnorm.service.verdict.occlusion import ODDEST, Effect, Floats, Integers, Occlusion

RARE = 0.01
"""A share of the group under which a category, or a gap, is not one of its own."""
_LISTED = 5  # categories of a group: where it has as many, another one may have what they leave
_FARTHEST = 9.0  # widths of the group's range
_NEVER_SEEN = 2.0  # as odd as two categories that training saw elsewhere
_TINY = 1e-6
_UNBOUNDED = SeenRange(low=None, high=None)

Value = float | bool | str | None


class Explained(Struct, frozen=True):
    """The effects on one record, by the group of `prototype` (None: no group has rows to compare with)."""

    prototype: int | None
    effects: list[Effect]


class Explainer:
    """Reasons by one model's reference."""

    def __init__(self, core: Core, run: Callable[[Rows], Outputs]) -> None:
        """`run` has the model's answers."""
        scores = core.reference.scores
        self._occlusion = Occlusion(run, scores[len(scores) // 2])  # np.median would load numpy.ma
        self._scored = core.features.scored
        self._usual = np.array([core.reference.residual_high.get(f.name, 0.0) for f in self._scored])
        self._groups = {group.prototype: group for group in core.groups}
        self._profiles: dict[tuple[int, str], dict[str, Any]] = {}
        settled = [group for group in core.groups if group.rows]
        self._prototypes = np.array([group.prototype for group in settled], np.int64)
        numeric, categorical = core.features.numeric, core.features.categorical
        bounds = {} if core.seen is None else core.seen.numeric
        profiles = [[group.numeric[f.name] for f in numeric] for group in settled]
        known = [core.reference.numeric[f.name].missing == 0.0 for f in numeric]
        self._numbers = _Numbers(profiles, numeric, [bounds.get(f.name, _UNBOUNDED) for f in numeric], known)
        closed = () if core.seen is None else core.seen.closed
        self._categories = [
            _Categories([g.categorical[f.name] for g in settled], f, f.name in closed) for f in categorical
        ]

    def group(self, prototype: int) -> dict[str, Any] | None:
        """How the normal group of a prototype looks."""
        group = self._groups.get(prototype)
        return group.model_dump(mode="json") if group else None

    def explain(self, rows: Rows, outputs: Outputs) -> list[Explained]:
        """Of N rows and the model's answers to them. It asks the model some hundred times a row."""
        if not len(self._prototypes):
            return [Explained(None, [])] * len(rows)
        place, normal = self._place(outputs), self.normal_of(rows, outputs)
        odd = [
            self._numbers.oddity(rows.numeric, place),
            *(c.oddity(rows.codes[:, j], place)[:, None] for j, c in enumerate(self._categories)),
        ]
        excess = outputs.residual / np.maximum(self._usual, _TINY)
        found = self._occlusion.effects(rows, outputs, normal, np.concatenate(odd, axis=1) + excess)
        nearest = self._prototypes[place].tolist()
        return [Explained(p, effects) for p, effects in zip(nearest, found, strict=True)]

    def normal_of(self, rows: Rows, outputs: Outputs) -> Rows:
        """The values that rows' nearest groups would have in their place; there has to be a group."""
        place = self._place(outputs)
        codes = np.array([categories.normal[place] for categories in self._categories], np.int64)
        numeric = self._numbers.normal_of(rows.numeric, place)
        return Rows(numeric, codes.reshape(len(self._categories), len(place)).T)

    def _place(self, outputs: Outputs) -> Integers:
        """[N] the nearest of the groups that have rows."""
        place: Integers = outputs.similarity[:, self._prototypes].argmax(axis=1)
        return place

    def reasons(
        self, record: Mapping[str, Value], explained: Explained, residual: Sequence[float]
    ) -> list[Reason]:
        """In words for a caller. `residual` has one for each scored feature."""
        if (prototype := explained.prototype) is None:
            return []
        return [
            Reason(
                (name := self._scored[effect.feature].name),
                record[name],
                self.expected(prototype, name),
                residual[effect.feature],
                float(self._usual[effect.feature]),
                round(effect.alone, 4),
                round(effect.together, 4),
                round(effect.rebuilt, 4),
            )
            for effect in explained.effects
        ]

    def expected(self, prototype: int, name: str) -> dict[str, Any]:
        """What a group has; figures that its rows have none of are left out. A request may want it often."""
        found = self._profiles.get((prototype, name))
        if found is None:
            group = self._groups[prototype]
            profile = group.numeric[name] if name in group.numeric else group.categorical[name]
            found = self._profiles[prototype, name] = profile.model_dump(exclude_none=True)
        return found


class _Numbers:
    """How the numbers of G groups look: arrays [G, Dn]."""

    def __init__(
        self,
        profiles: list[list[NumericProfile]],
        features: Sequence[Feature],
        bounds: Sequence[SeenRange],
        known: Sequence[bool],
    ) -> None:
        """`known`: of each feature, whether no row of the reference lacks it."""
        self._least = np.array([-np.inf if b.low is None else b.low for b in bounds])
        self._most = np.array([np.inf if b.high is None else b.high for b in bounds])
        shape = len(profiles), len(features)

        def column(of: Callable[[NumericProfile], float | None]) -> Floats:
            return np.array([[of(p) for p in group] for group in profiles], np.float64).reshape(shape)

        self._low, self._high = column(lambda p: p.low), column(lambda p: p.high)
        self._absent = np.isnan(self._low)
        self._gap = (column(lambda p: p.missing) < RARE).astype(np.float64)
        self._normal = column(lambda p: p.median if p.missing <= 0.5 else None)
        boolean = [f.kind is Kind.BOOLEAN for f in features]
        self._normal[:, boolean] = np.round(self._normal[:, boolean])
        self._times = [j for j, f in enumerate(features) if f.kind is Kind.TIME]
        self._neutral = [j for j in self._times if known[j]]

    def normal_of(self, values: Floats, place: Integers) -> Floats:
        """[N, Dn] Normal is no time at all, where a gap says nothing; else the group's hour of that day."""
        normal: Floats = self._normal[place]
        for j in self._times:
            normal[:, j] = values[:, j] - hours(values[:, j]) * HOUR + normal[:, j] * HOUR
        normal[:, self._neutral] = np.nan
        return normal

    def oddity(self, values: Floats, place: Integers) -> Floats:
        """[N, Dn] 0 within the group's range, from 1 on outside it; what nobody has seen is the oddest."""
        low, high = self._low[place], self._high[place]
        if self._times:
            values = values.copy()
            for j in self._times:
                values[:, j] = around(self._normal[place, j], hours(values[:, j]))
        width = high - low
        beyond = np.maximum(low - values, values - high)
        widths = np.divide(beyond, width, out=np.zeros_like(beyond), where=width > 0)
        odd = np.where(beyond > 0, 1.0 + np.minimum(widths, _FARTHEST), 0.0)
        odd[self._absent[place]] = 1.0
        odd[(values > self._most) | (values < self._least)] = ODDEST
        return np.where(np.isnan(values), self._gap[place], odd)


class _Categories:
    """How one feature's categories look in G groups: an array [G, codes]."""

    def __init__(self, profiles: list[CategoryProfile], feature: Feature, closed: bool) -> None:
        """`closed`: what training never saw there is novel."""
        self._odd = np.zeros((len(profiles), FIRST_CODE + len(feature.categories)))
        self.normal = np.full(len(profiles), UNKNOWN_CODE)
        for odd, profile in zip(self._odd, profiles, strict=True):
            rest = 1.0 - profile.missing - sum(profile.shares.values())
            odd[:] = float(rest < RARE or len(profile.shares) < _LISTED)
            odd[UNKNOWN_CODE] = ODDEST if closed else _NEVER_SEEN * odd[UNKNOWN_CODE]
            odd[MISSING_CODE] = float(profile.missing < RARE)
            for category, share in profile.shares.items():
                odd[feature.code_of[category]] = float(share < RARE)
        for place, profile in enumerate(profiles):
            most = max(profile.shares, key=profile.shares.__getitem__, default=None)
            if most is not None and profile.shares[most] >= profile.missing:
                self.normal[place] = feature.code_of[most]
            elif profile.missing:
                self.normal[place] = MISSING_CODE

    def oddity(self, codes: Integers, place: Integers) -> NDArray[np.float64]:
        """[N] 1 where the group has no such category, more where nobody has seen it."""
        return self._odd[place, codes]

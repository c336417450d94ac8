"""Why a record looks strange: the features whose values its nearest normal group would not have.

A feature speaks when the model could not rebuild it from what the group shares (residual over the
99th percentile of reference rows), when its number is outside the group's 5th to 95th percentile, or
when its category is none of the group's frequent ones. The most telling come first.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.manifest import CategoryProfile, Core, Group, NumericProfile
from nearnorm.service.records.shapes import Reason

MOST = 5
RARE = 0.01
"""A share of the group under which a category is not one of its own."""
_TINY = 1e-6

Value = float | bool | str | None


class _Finding(Struct, frozen=True):
    reason: Reason
    telling: float


class Explainer:
    """Reasons by one model's reference. Pure."""

    def __init__(self, core: Core) -> None:
        self._features = core.features.scored
        self._usual = core.reference.residual_high
        self._groups = {group.prototype: group for group in core.groups}

    def group(self, prototype: int) -> dict[str, Any] | None:
        """How the normal group of a prototype looks."""
        group = self._groups.get(prototype)
        return group.model_dump(mode="json") if group else None

    def reasons(
        self, record: Mapping[str, Value], prototype: int, residual: NDArray[np.float32]
    ) -> list[Reason]:
        """At most MOST reasons for one record, whose `residual` is one a scored feature."""
        group = self._groups.get(prototype)
        found = []
        for feature, error in zip(self._features, residual.tolist(), strict=True):
            usual = self._usual.get(feature.name, 0.0)
            value = record[feature.name]
            expected, strange = _expected(group, feature.name, value)
            excess = error / max(usual, _TINY)
            if strange or excess > 1.0:
                reason = Reason(feature.name, value, expected, error, usual)
                # a value outside the group's range tells more than the residual alone
                found.append(_Finding(reason, excess + strange))
        found.sort(key=lambda finding: finding.telling, reverse=True)
        return [finding.reason for finding in found[:MOST]]


def _expected(group: Group | None, name: str, value: Value) -> tuple[dict[str, Any], float]:
    """What the group has, and how far `value` is from it (0: the group has such values)."""
    if group is None:
        return {}, 0.0
    if name in group.numeric:
        numeric = group.numeric[name]
        return numeric.model_dump(), _outside(numeric, value)
    if name in group.categorical:
        category = group.categorical[name]
        return category.model_dump(), _rarity(category, value)
    return {}, 0.0


def _outside(profile: NumericProfile, value: Value) -> float:
    if value is None or isinstance(value, str):
        return float(profile.missing < RARE)
    if profile.low is None or profile.high is None:
        return 1.0
    beyond = max(profile.low - value, value - profile.high)
    if beyond <= 0:
        return 0.0
    width = profile.high - profile.low
    return 1.0 + min(beyond / width, 9.0) if width > 0 else 1.0


def _rarity(profile: CategoryProfile, value: Value) -> float:
    if value is None:
        return float(profile.missing < RARE)
    if str(value) in profile.shares:
        return float(profile.shares[str(value)] < RARE)
    # only the five most frequent are listed: another one may have what they leave
    rest = 1.0 - profile.missing - sum(profile.shares.values())
    return float(rest < RARE or len(profile.shares) < 5)

"""A normal group in words: what its records have that others have not, the most telling first."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from nearnorm.models.bundle.manifest import CategoryProfile, Group, NumericProfile
from nearnorm.models.data.schema import FeatureSchema, Kind

MOST_FEATURES = 5
_CATEGORIES = 3  # of a feature, in words


class TypicalFeature(Struct, frozen=True):
    """`expected` as in a reason: low, median and high of a number, shares of a category."""

    feature: str
    expected: dict[str, Any]


class GroupDescription(Struct, frozen=True):
    """`share` is that of reference rows which lie here, [0, 1]; `words` are one sentence."""

    prototype: int
    rows: int
    share: float
    typical: list[TypicalFeature]
    words: str


def describe(schema: FeatureSchema, groups: Sequence[Group], prototype: int) -> GroupDescription | None:
    """None: there is no such group."""
    group = next((one for one in groups if one.prototype == prototype), None)
    if group is None:
        return None
    others = [one for one in groups if one.prototype != prototype and one.rows]
    telling = {**_of_numbers(group, others), **_of_categories(group, others)}
    names = sorted(telling, key=lambda name: -telling[name])[:MOST_FEATURES]
    profiles = {name: group.numeric.get(name) or group.categorical[name] for name in names}
    typical = [TypicalFeature(name, profiles[name].model_dump(exclude_none=True)) for name in names]
    kinds = {feature.name: feature.kind for feature in schema.scored}
    said = [f"{name} {_in_words(profiles[name], kinds[name])}" for name in names]
    words = f"{100 * group.share:.3g}% of normal records" + (f": {'; '.join(said)}" if said else "")
    return GroupDescription(prototype, group.rows, group.share, typical, words)


def _of_numbers(group: Group, others: Sequence[Group]) -> dict[str, float]:
    """How far each number's median lies from that of the other groups, in widths of their ranges."""
    found = {}
    for name, profile in group.numeric.items():
        if profile.median is None or profile.low is None or profile.high is None:
            continue
        elsewhere = [(one.numeric[name], one.rows) for one in others if one.numeric[name].median is not None]
        if not elsewhere:
            found[name] = 0.0
            continue
        width = profile.high - profile.low + _mean([((p.high or 0) - (p.low or 0), n) for p, n in elsewhere])
        away = abs(profile.median - _mean([(p.median or 0.0, n) for p, n in elsewhere]))
        found[name] = away / width if width else float(away > 0)
    return found


def _of_categories(group: Group, others: Sequence[Group]) -> dict[str, float]:
    """How much of the group's rows have other categories than the rows of the other groups, [0, 1]."""
    found = {}
    for name, profile in group.categorical.items():
        if not profile.shares:
            continue
        elsewhere = [(one.categorical[name].shares, one.rows) for one in others]
        found[name] = sum(
            max(0.0, share - (_mean([(shares.get(category, 0.0), n) for shares, n in elsewhere])))
            for category, share in profile.shares.items()
            if elsewhere
        )
    return found


def _mean(weighted: Sequence[tuple[float, int]]) -> float:
    return sum(value * rows for value, rows in weighted) / sum(rows for _, rows in weighted)


def _in_words(profile: NumericProfile | CategoryProfile, kind: Kind) -> str:
    if isinstance(profile, CategoryProfile):
        return _shares(profile.shares)
    low, median, high = (profile.low or 0.0, profile.median or 0.0, profile.high or 0.0)
    if kind is Kind.BOOLEAN:
        return "mostly true" if median >= 0.5 else "mostly false"
    if kind is Kind.TIME:
        return f"from {clock(low)} to {clock(high)}"
    return f"{_number(low)} to {_number(high)}, mostly {_number(median)}"


def _shares(shares: Mapping[str, float]) -> str:
    most = sorted(shares.items(), key=lambda item: -item[1])[:_CATEGORIES]
    return ", ".join(f"{name} ({100 * share:.2g}%)" for name, share in most)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def clock(hour: float) -> str:
    """An hour of the day as text; it is beyond 0 or 24 where midnight is between."""
    minutes = round(60 * hour) % (24 * 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"

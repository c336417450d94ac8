"""Records that are alike: nearest to one prototype, and strange for the same reasons, on the same side.

Reasons cost some hundred answers of the model a record, so what they come to is kept for a while.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from msgspec import Struct

from nearnorm.models.data.clock import around
from nearnorm.models.data.schema import FeatureSchema, Kind
from nearnorm.service.feedback.queue import Pick
from nearnorm.service.records.shapes import Reason

LEADING = 2
"""Reasons that make records alike: the first, and the one after it where it takes half as much or more."""
MOST_KNOWN = 20_000

Side = Literal["below", "above", "within", "hour", "day", "is", "missing"]
"""Where a value lies beside its group's range; of a time whether its hour of the day is what is odd, or its
day; of a category what it is."""


class Trait(Struct, frozen=True, order=True):
    """A feature that makes a record strange, and on which side. `value`: of a category, its hash: what is
    kept here is to hold nobody's data."""

    feature: str
    side: Side
    value: int = 0


class Likeness(NamedTuple):
    """What records have in common that are alike."""

    prototype: int
    traits: tuple[Trait, ...]


class AlikeRecords(Struct, frozen=True):
    """In the order of the queue."""

    likeness: Likeness
    picks: list[Pick]


class KnownLikenesses:
    """By version and digest, the newest."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Likeness | None] = {}
        self.one_read = asyncio.Lock()
        """Held while records are read to be compared: many who read 500 would take scoring's turns."""

    def find(self, version: str, picks: Sequence[Pick]) -> dict[str, Likeness | None]:
        """By digest, of those that are known; None: the version cannot read the record."""
        keys = [(version, pick.event.digest) for pick in picks]
        return {digest: self._known[v, digest] for v, digest in keys if (v, digest) in self._known}

    def learn(self, version: str, found: Mapping[str, Likeness | None]) -> None:
        self._known |= {(version, digest): likeness for digest, likeness in found.items()}
        for key in list(self._known)[: max(len(self._known) - MOST_KNOWN, 0)]:
            del self._known[key]


def likeness(schema: FeatureSchema, prototype: int, reasons: Sequence[Reason]) -> Likeness:
    """Of a record by its reasons, the most telling first."""
    kinds = {feature.name: feature.kind for feature in schema.scored}
    leading = [r for r in reasons[:LEADING] if 2 * r.effect >= reasons[0].effect]
    return Likeness(prototype, tuple(sorted(_trait(reason, kinds[reason.feature]) for reason in leading)))


def _trait(reason: Reason, kind: Kind) -> Trait:
    value, expected = reason.value, reason.expected
    if value is None:
        return Trait(reason.feature, "missing")
    low, high = expected.get("low"), expected.get("high")
    if kind is Kind.TIME:
        usual = low is not None and high is not None and low <= _hour(str(value), (low + high) / 2) <= high
        return Trait(reason.feature, "day" if usual else "hour")
    if isinstance(value, (bool, str)) or low is None or high is None:
        return Trait(reason.feature, "is", hash(value))
    return Trait(reason.feature, "below" if value < low else "above" if value > high else "within")


def gather(picks: Sequence[Pick], known: Mapping[str, Likeness | None]) -> list[AlikeRecords]:
    """Those that have their like, the most records first, and of as many the highest."""
    by_likeness: dict[Likeness, list[Pick]] = defaultdict(list)
    for pick in picks:
        if (found := known.get(pick.event.digest)) is not None:
            by_likeness[found].append(pick)
    groups = [AlikeRecords(found, own) for found, own in by_likeness.items() if len(own) > 1]
    return sorted(groups, key=lambda one: (-len(one.picks), -max(p.event.percentile for p in one.picks)))


def words(
    traits: Sequence[Trait], record: Mapping[str, Any], expected: Mapping[str, Mapping[str, Any]]
) -> str:
    """In a sentence, by one of the records and what its normal group has of each feature."""
    said = []
    for trait in traits:
        name, usual = trait.feature, expected.get(trait.feature, {})
        match trait.side:
            case "below":
                said.append(f"{name} below {_number(usual['low'])}")
            case "above":
                said.append(f"{name} above {_number(usual['high'])}")
            case "within":
                said.append(f"{name} odd for the rest, though usual by itself")
            case "hour":
                said.append(f"{name} at an unusual hour")
            case "day":
                said.append(f"{name} odd, though at a usual hour")
            case "is":
                said.append(f"{name} is {record.get(name)}")
            case "missing":
                said.append(f"{name} is missing")
    return ", ".join(said) or "no single value: the mix"


def _hour(time: str, middle: float) -> float:
    """The hour of 2026-01-31T09:14:00 and of 09:14:00, as it lies nearest to the middle."""
    hour, minute, second = map(float, time.rpartition("T")[2].split(":"))
    return float(around(middle, np.array(hour + minute / 60 + second / 3600)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"

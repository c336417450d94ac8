"""Fields that the model's schema does not know: warned of once, or refused where strictness was asked for."""

import heapq
from collections.abc import Iterable, Set

from nearnorm.service.records.limits import shortened

MOST_WARNED = 20
"""Unknown fields named in one answer's warnings."""
MOST_COUNTED = 1_000
"""Unknown fields up to which they are counted."""


def take_note(strange: dict[str, None], unknown: Set[str]) -> None:
    """Take the names among those to warn of. Beyond MOST_COUNTED it would only cost time."""
    if len(strange) < MOST_COUNTED and not unknown <= strange.keys():
        strange.update(dict.fromkeys(heapq.nsmallest(MOST_COUNTED, unknown)))


def warnings_of(unknown: Iterable[str]) -> list[str]:
    """The warnings for fields that the schema does not know."""
    names = list(unknown)
    warnings = [f"unknown field {shortened(name)!r} was ignored" for name in names[:MOST_WARNED]]
    if len(names) > MOST_WARNED:
        least = "at least " if len(names) >= MOST_COUNTED else ""
        more = min(len(names), MOST_COUNTED) - MOST_WARNED
        warnings.append(f"{least}{more} more unknown fields were ignored")
    return warnings


def refusal(name: str) -> str:
    return f"{shortened(name)} is not in the model's schema, and strict was asked for: leave it out"

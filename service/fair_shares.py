"""Fair shares (max-min): a scarce thing is divided evenly, and what somebody does not need goes to the rest.

Whoever wants no more than an even part gets all of it; nobody is cut while there is enough.
"""

from collections.abc import Mapping
from typing import TypeVar

Who = TypeVar("Who")


def fair_shares(wanted: Mapping[Who, int], capacity: int) -> dict[Who, int]:
    """How much each gets of `capacity`."""
    shares: dict[Who, int] = {}
    left = capacity
    for number, (who, want) in enumerate(sorted(wanted.items(), key=lambda item: item[1])):
        shares[who] = min(want, left // (len(wanted) - number))
        left -= shares[who]
    return shares

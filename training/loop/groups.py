"""Verdicts on groups: records alike, judged in one look, are one piece of evidence with its size. Pure.

Of a group of n records 1 + log2(n) teach, drawn by their digests: alike as they are, more of them would say
the same again and outweigh what was looked at one by one. One of them speaks before the gate.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from nearnorm.models.retraining import Verdict


def teaching(size: int) -> int:
    """How many records of a group teach."""
    return size.bit_length()


def who_teaches(verdicts: Sequence[Verdict]) -> np.ndarray:
    """[V]: whether a verdict's record trains."""
    return _first(verdicts, alone=False)


def who_speaks(verdicts: Sequence[Verdict]) -> np.ndarray:
    """[V]: whether a verdict is counted as evidence: one of each group, and all that stand by themselves."""
    return _first(verdicts, alone=True)


def drawn_by(verdict: Verdict) -> str:
    """The digest by which a record is drawn: a group is drawn as a whole, or its like would teach what it is
    measured by."""
    if verdict.group is None:
        return verdict.digest
    return hashlib.sha256(verdict.group.encode()).hexdigest()[:32]


def _first(verdicts: Sequence[Verdict], *, alone: bool) -> np.ndarray:
    groups: dict[str, list[int]] = defaultdict(list)
    found = np.ones(len(verdicts), bool)
    for i, verdict in enumerate(verdicts):
        if verdict.group is not None:
            groups[verdict.group].append(i)
    for members in groups.values():
        members.sort(key=lambda i: verdicts[i].digest)
        found[members[1 if alone else teaching(len(members)) :]] = False
    return found

"""Whose words the labels of the others do not bear out.

A model that learnt from all others alone says where a key's anomalies lie. Where that is far deeper than the
anomalies of the others, which it did not see either, the key's words are left out until somebody gives a
second opinion. A truly new kind of anomaly looks like that too, and nothing that the key itself said counts.

Where nobody else labels, what was known before takes the place of the others, and only a labeller who calls
everything an anomaly is asked: known anomalies are of every depth, those that somebody was shown lie high.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, log, sqrt

import numpy as np

from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.evaluation.crossfit import cross_fit, fold_count
from nearnorm.training.loop.challenger import FEWEST_COMPARED, Setting, lay_out
from nearnorm.training.loop.gate import FINEST
from nearnorm.training.loop.groups import who_speaks
from nearnorm.training.loop.progress import SNAPSHOT, report_progress

MOST_ASKED = 3
"""Keys whose words are held against those of the others in one retraining: each costs a cross-fit."""
FEWEST = 3
"""Anomalies that a key must have named."""
DEEPER = 1.65
"""So many times as deep as the others' anomalies a key's may not lie, and surely deeper."""
SHOWN = 0.95
"""Where nobody else labels, anomalies are compared that rank as high as people are shown records;"""
DEEPER_SHOWN = 1.25
"""these may not lie so many times as deep."""
SURE = 2.0
"""Standard errors of the difference."""


@dataclass(frozen=True)
class Contradiction:
    """The anomalies among `words`, which `key` alone said, lie `times` as deep as those of all others."""

    key: str
    times: float
    words: list[Verdict]


def suspects(verdicts: Sequence[Verdict], rank: np.ndarray) -> list[str]:
    """API keys that said something new, those first whose new words surprise the champion most: anomalies
    that lie deeper than what others call one, or normals that lie higher. None where nobody else ever
    labelled. `rank` [V] is the champion's, of the record of each verdict."""
    if len({verdict.key for verdict in verdicts}) < 2:
        return []
    new = [i for i in np.flatnonzero(who_speaks(verdicts)).tolist() if not verdicts[i].known]
    depth = np.log(np.maximum(1.0 - rank, FINEST))
    surprise: dict[str, float] = defaultdict(float)
    for anomaly, sign in ((True, 1.0), (False, -1.0)):
        alike = [i for i in new if verdicts[i].anomaly is anomaly]
        typical = depth[alike].mean() if alike else 0.0
        for i in alike:
            if (key := verdicts[i].key) is not None:
                surprise[key] += sign * float(depth[i] - typical)
    return sorted(surprise, key=lambda key: (-surprise[key], key))


def contradiction(setting: Setting, verdicts: Sequence[Verdict], rank: np.ndarray) -> Contradiction | None:
    """The key whose words the others contradict most, if they do; `rank` as in `suspects`."""
    keys = {verdict.key for verdict in verdicts}
    if len(keys) == 1:
        return _ask_known(setting, verdicts)
    asked = suspects(verdicts, rank)[:MOST_ASKED]
    found = [one for key in asked if (one := _ask_others(setting, verdicts, key))]
    return max(found, key=lambda one: one.times, default=None)


def _ask_others(setting: Setting, verdicts: Sequence[Verdict], key: str) -> Contradiction | None:
    words = [verdict for verdict in verdicts if verdict.key == key]
    if sum(words[i].anomaly for i in np.flatnonzero(who_speaks(words))) < FEWEST:
        return None
    said, others = _rank_without(setting, verdicts, words)
    times = times_as_deep(said, others)
    return None if times is None else Contradiction(key, times, words)


def _ask_known(setting: Setting, verdicts: Sequence[Verdict]) -> Contradiction | None:
    """By what the champion knew."""
    words = [verdict for verdict in verdicts if not verdict.known]
    key = verdicts[0].key
    if key is None or len(words) < FEWEST or not all(verdict.anomaly for verdict in words):
        return None
    said, known = _rank_without(setting, verdicts, words)
    times = times_as_deep(said[said >= SHOWN], known[known >= SHOWN], DEEPER_SHOWN)
    return None if times is None else Contradiction(key, times, words)


def _rank_without(
    setting: Setting, verdicts: Sequence[Verdict], words: Sequence[Verdict]
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the anomalies among `words`, and of all others, by fits that learn from the others alone."""
    material = lay_out(setting, verdicts)
    data, rows = material.data, material.rows
    left_out = {verdict.digest for verdict in words}
    theirs = np.zeros(len(data.labels), bool)
    place = material.snapshot.place.tolist()
    theirs[[row for v, row in zip(verdicts, place, strict=True) if v.digest in left_out and row >= 0]] = True
    known = np.where(theirs, UNLABELLED, data.labels).astype(np.int8)
    added = np.arange(len(known)) >= len(known) - material.snapshot.added
    crossed = cross_fit(
        data,
        rows,
        setting.recipe.fit,
        setting.champion.manifest.core.seed,
        _beat,
        known,
        ~(theirs & added),
        fold_count(known[rows.fit]),
    )
    anomalous = data.labels[crossed.rows] == ANOMALY
    own = theirs[crossed.rows]
    return crossed.rank[anomalous & own], crossed.rank[anomalous & ~own]


def _beat(done: float) -> None:
    """It goes on: who watches can tell it from one that hangs."""
    report_progress("evaluate", SNAPSHOT)


def times_as_deep(said: np.ndarray, others: np.ndarray, bound: float = DEEPER) -> float | None:
    """How many times as deep what one key `said` [A] lies as what `others` [B] did, by their ranks; None: not
    surely deeper by `bound`, or too few to tell."""
    if len(said) < FEWEST or len(others) < FEWEST_COMPARED:
        return None
    one, all_ = (np.log(np.maximum(1.0 - rank, FINEST)) for rank in (said, others))
    more = float(one.mean() - all_.mean())
    error = hypot(one.std(ddof=1) / sqrt(len(one)), all_.std(ddof=1) / sqrt(len(all_)))
    return exp(more) if more >= max(log(bound), SURE * error) else None

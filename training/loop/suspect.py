"""The labeller to try without, where a challenger was refused: whose new words surprise the champion most.

A surprise is an anomaly that lies deeper than what others call one, or a normal that lies higher.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from nearnorm.models.retraining import Verdict
from nearnorm.training.loop.gate import FINEST


def suspect(verdicts: Sequence[Verdict], rank: np.ndarray) -> str | None:
    """An API key; None: no other key said anything new, so there is nothing to learn without it. `rank` [V]
    is the champion's, of the record of each verdict."""
    new = [i for i, verdict in enumerate(verdicts) if not verdict.known]
    if len({verdicts[i].key for i in new}) < 2:
        return None
    depth = np.log(np.maximum(1.0 - rank, FINEST))
    surprise: dict[str, float] = defaultdict(float)
    for anomaly, sign in ((True, 1.0), (False, -1.0)):
        alike = [i for i in new if verdicts[i].anomaly is anomaly]
        typical = depth[alike].mean() if alike else 0.0
        for i in alike:
            if (key := verdicts[i].key) is not None:
                surprise[key] += sign * float(depth[i] - typical)
    return max(surprise, key=lambda key: (surprise[key], key), default=None)

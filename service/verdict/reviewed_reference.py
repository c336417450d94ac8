"""The reviewed reference: what people have confirmed as anomalies leaves it at once, without retraining."""

from collections.abc import Set

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import Reference


def reviewed_scores(reference: Reference, confirmed: Set[str]) -> NDArray[np.float32]:
    """The scores of the reference, ascending, without the rows whose digests are `confirmed` anomalies.

    At least one row stays, or there would be nothing to rank among.
    """
    scores = np.asarray(reference.scores, np.float32)
    last = len(scores) - 1
    gone = [last - place for place, row in enumerate(reference.review) if row.digest in confirmed]
    return np.delete(scores, gone[:last])

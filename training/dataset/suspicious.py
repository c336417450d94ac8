"""What in labelled data looks wrong before anything is learnt: leaks of the label, labels that contradict
each other, and rows that stand there thousands of times. Each is a sentence with the mend."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from nearnorm.models.data.schema import FIRST_CODE, MISSING_CODE, Feature, Kind
from nearnorm.models.data.toml_text import quoted
from nearnorm.training.dataset.equal import row_keys
from nearnorm.training.dataset.labels import ANOMALY, NORMAL
from nearnorm.training.dataset.load import Dataset
from nearnorm.training.dataset.masks import masked

FEWEST_ANOMALIES = 10
"""Fewer labelled anomalies are told apart by a column by chance."""
FEW_VALUES = 3
FEWEST_OF_A_CATEGORY = 3
REPEATED_ROWS = 1_000
REPEATED_SHARE = 0.05


def suspicious(data: Dataset) -> Iterator[str]:
    """Sentences about the rows and their labels."""
    anomalies = data.labels == ANOMALY
    if anomalies.sum() >= FEWEST_ANOMALIES and not anomalies.all():
        for j, feature in enumerate(data.schema.numeric):
            values = data.numeric[:, j]
            yield from _leaks(feature, values, ~np.isnan(values), data.labels)
        for j, feature in enumerate(data.schema.categorical):
            values = data.codes[:, j]
            yield from _leaks(feature, values, values != MISSING_CODE, data.labels)
    yield from _rows(data)


def _leaks(feature: Feature, values: np.ndarray, present: np.ndarray, labels: np.ndarray) -> Iterator[str]:
    """Of one column's values [N], where `present` [N], and the labels [N]."""
    where = f"[schema.{quoted(feature.name)}]"
    mend = f'if it is known only once a record was looked at, set kind = "ignored" in {where}'
    anomalies, labelled = labels == ANOMALY, labels >= NORMAL
    for rows, which in ((anomalies, "labelled anomalies"), (labelled, "labelled rows")):
        if rows.any() and not rows.all() and ((present == rows).all() or (present != rows).all()):
            how = "filled" if present[rows].all() else "missing"
            yield f"column {feature.name!r} is {how} exactly in {which}: {mend}"
            return
    if feature.kind is Kind.TIME:  # of which the model sees no more than hour and day
        return
    inside, outside = values[anomalies & present], values[~anomalies & present]
    if len(inside) < FEWEST_ANOMALIES or len(inside) < anomalies.sum() or not len(outside):
        return
    own, coded = np.unique(inside), bool(feature.categories)
    apart = not coded and (own[0] > outside.max() or own[-1] < outside.min())
    few = coded or len(own) <= FEW_VALUES
    if apart or (few and not np.isin(own, outside).any()):
        yield f"column {feature.name!r} alone tells all labelled anomalies from all other rows: {mend}"
    elif coded:
        names, counts = _only_anomalous(feature, inside, outside)
        if names:
            yield (
                f"column {feature.name!r} has {', '.join(map(masked, names))} in labelled anomalies only "
                f"({counts} of {len(inside)}): {mend}"
            )


def _only_anomalous(feature: Feature, inside: np.ndarray, outside: np.ndarray) -> tuple[list[str], int]:
    """Categories that come again among anomalies and nowhere else, and the anomalies that have one."""
    codes, counts = np.unique(inside, return_counts=True)
    only = (codes >= FIRST_CODE) & (counts >= FEWEST_OF_A_CATEGORY) & ~np.isin(codes, outside)
    names = [feature.categories[code - FIRST_CODE] for code in codes[only].tolist()]
    return names[:FEW_VALUES], int(counts[only].sum())


def _rows(data: Dataset) -> Iterator[str]:
    keys, labels = row_keys(data.numeric, data.codes), data.labels
    said: dict[bytes, set[int]] = {}
    for row in np.flatnonzero(labels >= NORMAL).tolist():
        said.setdefault(keys[row], set()).add(int(labels[row]))
    both = sum(len(labels_of) > 1 for labels_of in said.values())
    if both:
        yield (
            f"{both:,} records are labelled anomaly in one row and normal in another that is equal to it: "
            "decide which, or give the column that tells them apart"
        )
    times = Counter(keys).most_common(1)[0][1]
    if times >= max(REPEATED_ROWS, REPEATED_SHARE * len(keys)):
        yield (
            f"one record stands in {times:,} rows ({times / len(keys):.0%}): the model and its percentiles "
            "are mostly about it; leave copies out, if they are some"
        )

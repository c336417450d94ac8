"""What the normal group of each prototype looks like, for the manifest, the report and explanations."""

import numpy as np

from nearnorm.models.bundle.manifest import CategoryProfile, Group, NumericProfile
from nearnorm.models.data.clock import around, hours, middle_hour
from nearnorm.models.data.schema import FIRST_CODE, MISSING_CODE, FeatureSchema, Kind
from nearnorm.training.evaluation.calibrate import Scored

ORDINARY = 0.95
"""The rows with the highest scores are left out: some are hidden anomalies."""
TOP_CATEGORIES = 5


def describe_groups(
    schema: FeatureSchema, numeric: np.ndarray, codes: np.ndarray, scored: Scored
) -> tuple[Group, ...]:
    """One group for each prototype, of the ordinary rows that are nearest to it."""
    ordinary = scored.score <= np.quantile(scored.score, ORDINARY)
    groups = []
    for prototype in range(scored.similarity.shape[1]):
        members = ordinary & (scored.prototype == prototype)
        groups.append(
            Group(
                prototype=prototype,
                rows=int(members.sum()),
                share=float(members.sum() / ordinary.sum()),
                numeric={f.name: _profile(numeric[members, j], f.kind) for j, f in enumerate(schema.numeric)},
                categorical={
                    f.name: _categories(codes[members, j], f.categories)
                    for j, f in enumerate(schema.categorical)
                },
            )
        )
    return tuple(groups)


def _profile(values: np.ndarray, kind: Kind) -> NumericProfile:
    """Of times the hours of the day, from those about the middle one: 22 to 28 is from 22 to 4 o'clock."""
    present = values[~np.isnan(values)]
    missing = 1.0 - len(present) / len(values) if len(values) else 0.0
    if not len(present):
        return NumericProfile(low=None, median=None, high=None, missing=missing)
    if kind is Kind.TIME:
        present = around(middle_hour(hours(present)), hours(present))
    low, median, high = np.quantile(present, [0.05, 0.5, 0.95]).tolist()
    return NumericProfile(low=low, median=median, high=high, missing=missing)


def _categories(codes: np.ndarray, categories: tuple[str, ...]) -> CategoryProfile:
    """Shares among all rows of the group; rows of unknown categories are in none of them."""
    if not len(codes):
        return CategoryProfile(shares={}, missing=0.0)
    shares = np.bincount(codes, minlength=FIRST_CODE + len(categories)) / len(codes)
    known = shares[FIRST_CODE:]
    top = [i for i in np.argsort(-known, kind="stable")[:TOP_CATEGORIES] if known[i] > 0]
    return CategoryProfile(
        shares={categories[i]: float(known[i]) for i in top}, missing=float(shares[MISSING_CODE])
    )

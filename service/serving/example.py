"""A record that a model reads, to show callers."""

from typing import Any

from nearnorm.models.bundle.manifest import Core
from nearnorm.models.data.records import value_of
from nearnorm.models.data.schema import FIRST_CODE, MISSING_CODE, UNKNOWN_CODE


def example_record(core: Core) -> dict[str, Any]:
    """The golden record with the fewest gaps, as a caller would send it."""
    golden = core.golden
    gaps = [
        numeric.count(None) + codes.count(MISSING_CODE) + codes.count(UNKNOWN_CODE)
        for numeric, codes in zip(golden.numeric, golden.codes, strict=True)
    ]
    fullest = gaps.index(min(gaps))
    sample: dict[str, Any] = {}
    for f, number in zip(core.features.numeric, golden.numeric[fullest], strict=True):
        sample[f.name] = None if number is None else value_of(f, number)
    for f, code in zip(core.features.categorical, golden.codes[fullest], strict=True):
        sample[f.name] = f.categories[code - FIRST_CODE] if code >= FIRST_CODE else None
    return sample

"""Whether a file holds a schema's columns: one of something else is not scored as if all were missing."""

from collections.abc import Iterator, Sequence

from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.errors import DataError
from nearnorm.models.some_of import some_of

LEAST_SHARE = 0.5
"""Of the columns that the model reads."""
_MOST_NAMED = 8


def absent_columns(
    source: str, columns: Sequence[str], schema: FeatureSchema, allowed: bool = False, mend: str = ""
) -> Iterator[str]:
    """A sentence where columns that the model reads are not among `columns`; `mend` ends a refusal.

    Raises DataError, unless `allowed`, where less than half are, or one is not that has to be given.
    """
    wanted = {feature.name for feature in schema.scored}
    absent = [feature.name for feature in schema.scored if feature.name not in columns]
    if not absent:
        return
    spelled = {name.strip().lower(): name for name in columns if name not in wanted}
    pairs = [(spelled[n.strip().lower()], n) for n in absent if n.strip().lower() in spelled]
    hint = f"; it spells {pairs[0][0]!r} what the model calls {pairs[0][1]!r}" if pairs else ""
    lacking = f"{len(absent)} of {len(wanted)} columns of the model ({some_of(absent, _MOST_NAMED)})"
    sentence = f"{source} lacks {lacking}{hint}"
    required = [feature.name for feature in schema.scored if not feature.nullable and feature.name in absent]
    if not allowed and len(absent) > LEAST_SHARE * len(wanted):
        raise DataError(f"{sentence}: is it another file?{mend}")
    if not allowed and required:
        raise DataError(f"{sentence}, and {required[0]!r} has to be given:{mend or ' add it'}")
    yield f"{sentence}: they count as missing in every row"

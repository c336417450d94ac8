"""Whether the parts of a manifest's core are about the same model: its features, its prototypes, its rows."""

from collections.abc import Collection, Iterator

from nearnorm.models.bundle.manifest import Core
from nearnorm.models.data.schema import FIRST_CODE


def misfits(core: Core) -> Iterator[str]:
    """What does not fit, a sentence each; nothing, of a bundle that was written as a whole."""
    schema, reference = core.features, core.reference
    if not schema.scored:
        yield "no feature is scored"
    numeric = [f.name for f in schema.numeric]
    categories = {f.name: FIRST_CODE + len(f.categories) for f in schema.categorical}
    try:
        counted = core.aggregates
    except ValueError:
        yield "config.aggregates declares what this release does not know"
    else:
        uncounted = set() if counted is None else counted.features.keys() - schema.names
        if uncounted:
            yield f"config.aggregates has {min(uncounted)!r}, which is no column of the data"
    parts: list[tuple[str, Collection[str], Collection[str]]] = [
        ("reference.numeric", reference.numeric, numeric),
        ("reference.categorical", reference.categorical, categories),
        ("reference.residual_high", reference.residual_high, [f.name for f in schema.scored]),
        *((f"group {g.prototype}.numeric", g.numeric, numeric) for g in core.groups),
        *((f"group {g.prototype}.categorical", g.categorical, categories) for g in core.groups),
    ]
    for where, named, needed in parts:
        yield from _absent(where, named, needed)
    for name, histogram in reference.numeric.items():
        if len(histogram.shares) != len(histogram.edges) + 1:
            yield f"reference.numeric.{name} has another number of shares than of bins"
    for name, codes in reference.categorical.items():
        if name in categories and len(codes.shares) != categories[name]:
            yield f"reference.categorical.{name} has another number of shares than of codes"
    if len(reference.prototype_shares) != core.prototypes:
        yield "reference.prototype_shares has another number than the prototypes"
    if not reference.scores or len(reference.scores) != reference.rows:
        yield "reference.scores has another number than its rows"
    top = reference.scores[: -len(reference.review) - 1 : -1]
    if [row.score for row in reference.review] != list(top):
        yield "reference.review is not the top of the reference"
    if any(not 0 <= group.prototype < core.prototypes for group in core.groups):
        yield "groups has one of a prototype that there is not"
    if core.seen is not None:
        unknown = (core.seen.numeric.keys() - set(numeric)) | (set(core.seen.closed) - categories.keys())
        if unknown:
            yield f"seen has {min(unknown)!r}, which is no such feature"
    for group in core.groups:
        for f in schema.categorical:
            profile = group.categorical.get(f.name)
            if profile and not profile.shares.keys() <= set(f.categories):
                yield f"group {group.prototype}.categorical.{f.name} has a category that the feature has not"
    yield from _golden_misfits(core, list(categories.values()))


def _golden_misfits(core: Core, codes: list[int]) -> Iterator[str]:
    golden, numbers = core.golden, len(core.features.numeric)
    answers = (golden.score, golden.prototype, golden.distance, golden.reconstruction_error)
    if {len(part) for part in (golden.codes, *answers)} != {len(golden.numeric)}:
        yield "golden has another number of answers than of rows"
    if any(len(row) != numbers for row in golden.numeric):
        yield "golden.numeric has a row that is not as wide as the features"
    if any(len(row) != len(codes) for row in golden.codes):
        yield "golden.codes has a row that is not as wide as the features"
    elif any(not 0 <= code < most for row in golden.codes for code, most in zip(row, codes, strict=True)):
        yield "golden.codes has a code that no category has"
    if any(not 0 <= prototype < core.prototypes for prototype in golden.prototype):
        yield "golden.prototype has one that there is not"


def _absent(where: str, named: Collection[str], needed: Collection[str]) -> Iterator[str]:
    for name in needed:
        if name not in named:
            yield f"{where} lacks {name!r}"

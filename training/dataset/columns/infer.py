"""A table -> the schema of its columns, with what was found of each: labels are never looked at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pydantic import ValidationError

from nearnorm.models.data import values
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.times import TimeFormat
from nearnorm.models.data.toml_text import quoted, toml_text
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.models.some_of import some_of
from nearnorm.training.dataset.columns.distinct import DistinctValues, distinct_values
from nearnorm.training.dataset.columns.kinds import MOST_CATEGORIES, Guess, guess, is_moment, time_format
from nearnorm.training.dataset.columns.marks import usual_marks
from nearnorm.training.dataset.columns.since import propose_since
from nearnorm.training.dataset.masks import masked
from nearnorm.training.dataset.recipe import ColumnOverride

FEWEST_ROWS_OF_A_CATEGORY = 2
"""A category seen once is left to the unknown bucket, which thereby learns what rarity looks like."""
EXAMPLES = 3
BY_CONFIGURATION = "left out by the configuration"
MOST_ALIKE = 3
"""Columns left out for the same reason that are named one by one."""


@dataclass(frozen=True)
class Finding:
    """One column: what it is taken for, why, what else it could be, and how its values look.

    `missing` is the share of rows without a value, marks counted; `examples` are masked.
    """

    feature: Feature
    why: str
    others: tuple[Kind, ...]
    missing: float
    distinct: int
    examples: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Inferred:
    """A schema, what was found of every column, and a sentence for each guess that could hurt."""

    schema: FeatureSchema
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]


def infer_schema(
    table: pa.Table,
    overrides: Mapping[str, ColumnOverride],
    older: FeatureSchema | None = None,
    rows: int | None = None,
) -> Inferred:
    """Infer every column of the table; what an override says is taken as given, and kinds of an `older`
    schema go on as they are. A column that is kept need not be in the table. `rows`: of how many the table's
    were drawn (None: they are all there are).

    Raises ConfigError for an override that names no column or does not fit it, DataError for a column that
    changes its type half-way.
    """
    for name, override in overrides.items():
        if name not in table.column_names and not (override.keep and override.kind):
            raise ConfigError(f"[schema.{quoted(name)}]: the data has no column of that name")
    before = {} if older is None else {feature.name: feature for feature in older.features}
    findings, refused = [], []
    stands_for = 1.0 if rows is None else rows / table.num_rows
    for name in table.column_names:
        override = overrides.get(name, ColumnOverride())
        try:
            found = distinct_values(name, table.column(name), stands_for)
            findings.append(_find(name, table.column(name), found, override, before.get(name)))
        except DataError as error:
            refused.append(str(error))
    if refused:
        raise DataError("; ".join(refused))
    findings = _counted_since(table, findings, overrides, older)
    findings += _kept_beside(table, overrides, before)
    try:
        schema = FeatureSchema(features=tuple(finding.feature for finding in findings))
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    if not schema.scored:
        reasons = "; ".join(f"{f.name}: {f.reason}" for f in schema.ignored)
        raise DataError(f"no column is left to learn from ({reasons})")
    return Inferred(schema, tuple(findings), (*_warnings(findings), *_of_spaces(schema)))


def _counted_since(
    table: pa.Table,
    findings: list[Finding],
    overrides: Mapping[str, ColumnOverride],
    older: FeatureSchema | None,
) -> list[Finding]:
    """The findings with what each time counts from: as the configuration says, or as proposed where it is
    silent. Raises ConfigError for what is no other time."""
    times = {f.feature.name: f.feature for f in findings if f.feature.kind is Kind.TIME}
    for feature in times.values():
        for name in feature.since:
            if name not in times or name == feature.name:
                raise ConfigError(f"[schema.{quoted(feature.name)}]: since: {name!r} is no other time")
    if older is not None or any(override.since is not None for override in overrides.values()):
        return findings
    proposed = propose_since(table, list(times.values()))
    return [
        replace(f, feature=f.feature.model_copy(update={"since": proposed.get(f.feature.name, ())}))
        for f in findings
    ]


def _kept_beside(
    table: pa.Table, overrides: Mapping[str, ColumnOverride], before: Mapping[str, Feature]
) -> Iterator[Finding]:
    """Columns that are kept with events and are not in the data: only requests hold them."""
    kept = {name: feature for name, feature in before.items() if feature.keep}
    for name, override in overrides.items():
        if override.keep and override.kind:
            kept[name] = Feature(name=name, kind=Kind(override.kind), reason=BY_CONFIGURATION, keep=True)
    for name, feature in kept.items():
        if name not in table.column_names:
            warning = f"column {name!r} is not in the data: it is kept with events where requests hold it"
            yield Finding(feature, "not in the data", (), 1.0, 0, (), (warning,))


def _find(
    name: str,
    column: pa.ChunkedArray,
    found: DistinctValues | None,
    override: ColumnOverride,
    before: Feature | None,
) -> Finding:
    kind = Kind.TIME if override.of_time else None if override.kind is None else Kind(override.kind)
    if before is not None and kind in (None, before.kind):
        marks = _marks_of(before.kind, found, before.missing)
        guessed = Guess(before.kind, before.reason, missing=marks, format=before.format)
    elif kind is not None:
        guessed = _as_told(kind, name, column, found, override)
    else:
        guessed = guess(name, column, found, override.missing)
    marks = guessed.missing if override.missing is None else override.missing
    rest = None if found is None else found.without(marks)
    if guessed.kind is Kind.CATEGORICAL and rest is not None and (before is None or before.kind is Kind.CODE):
        guessed = _one_spelling(guessed, rest)
    feature = Feature(
        name=name,
        kind=guessed.kind,
        reason="" if guessed.kind.scored else guessed.why,
        format=guessed.format if override.format is None else override.format,
        zone=(before.zone if before else "") if override.zone is None else override.zone,
        since=(before.since if before else ()) if override.since is None else override.since,
        keep=_is_kept(name, guessed.kind, override, before),
    )
    warnings = [guessed.warning] if guessed.warning else []
    if feature.kind.scored:
        nullable = True if override.nullable is None else override.nullable
        feature = feature.model_copy(update={"nullable": nullable, "missing": marks})
    if feature.kind in (Kind.CATEGORICAL, Kind.CODE) and rest is not None:
        feature, warning = _with_categories(feature, rest, override, before)
        warnings += [warning] if warning else []
    return Finding(
        feature=feature,
        why=guessed.why,
        others=guessed.others,
        missing=1.0 - (len(column) - column.null_count if rest is None else rest.rows) / max(len(column), 1),
        distinct=0 if rest is None else len(rest.values),
        examples=() if rest is None else _examples(feature, rest),
        warnings=tuple(warnings),
    )


def _is_kept(name: str, kind: Kind, override: ColumnOverride, before: Feature | None) -> bool:
    """Raises ConfigError for a feature."""
    if not kind.scored:
        return bool(before and before.keep) if override.keep is None else override.keep
    if override.keep:
        raise ConfigError(
            f"[schema.{quoted(name)}]: keep is for columns outside the model, and it was taken for {kind}: "
            'set kind = "ignored" too, or leave keep out, as features stand in the record anyway'
        )
    return False


def _as_told(
    kind: Kind, name: str, column: pa.ChunkedArray, found: DistinctValues | None, override: ColumnOverride
) -> Guess:
    """A kind by the configuration. Raises ConfigError where the column cannot be of it."""
    if not kind.scored:
        return Guess(kind, BY_CONFIGURATION)
    if kind is not Kind.TIME and is_moment(column.type):
        raise ConfigError(
            f'[schema.{quoted(name)}]: dates and times cannot be {kind}: set kind = "time" or "ignored"'
        )
    if found is None or (pa.types.is_temporal(column.type) and not is_moment(column.type)):
        raise ConfigError(f"[schema.{quoted(name)}]: values of type {column.type} cannot be {kind}")
    marks = _marks_of(kind, found, ())
    if kind is not Kind.TIME:
        return Guess(kind, "by the configuration", missing=marks)
    form = override.format or time_format(found.without(marks))
    if form is None:
        raise ConfigError(
            f"[schema.{quoted(name)}]: the column's values are no times of one form: say which by "
            f"format = {', '.join(toml_text(form) for form in TimeFormat)}"
        )
    return Guess(kind, "by the configuration", missing=marks, format=form)


def _marks_of(kind: Kind, found: DistinctValues | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Marks known before, and usual ones among what are no texts."""
    if kind is Kind.CATEGORICAL or not kind.scored or found is None or not found.is_text:
        return known
    return tuple(sorted({*known, *usual_marks(found.texts)}))


def _one_spelling(guessed: Guess, found: DistinctValues) -> Guess:
    """A code, where texts spell what numbers and booleans of JSON, Arrow and Parquet would not match."""
    if not found.is_text:
        return guessed
    others = sorted(text for text in found.texts if values.code(text) not in (text.strip(), None))
    if not others:
        return guessed
    name, one = found.name, others[0].strip()
    warning = (
        f"column {name!r} holds the text {one!r}, which as a number or as true or false is spelled "
        f"{values.code(one)!r}: it is taken as a code, where both are one"
    )
    return replace(guessed, kind=Kind.CODE, why=f"{one!r} and {values.code(one)!r} are one", warning=warning)


def _with_categories(
    feature: Feature, found: DistinctValues, override: ColumnOverride, before: Feature | None
) -> tuple[Feature, str]:
    """The most frequent categories, ties by name, and a warning where some are left out."""
    if feature.kind is Kind.CODE:
        width = before.width if before is not None and before.kind is Kind.CODE else _width(found)
        feature = feature.model_copy(update={"width": width})
    counts: dict[str, int] = {}
    for value, n in zip(found.values.to_pylist(), found.counts.tolist(), strict=True):
        try:
            category = feature.coerce(value)
        except ValueError as error:
            raise ConfigError(f"[schema.{quoted(feature.name)}]: {error}") from None
        if category is not None:
            name = values.composed(str(category))
            counts[name] = counts.get(name, 0) + n
    kept = [c for c, n in counts.items() if n >= FEWEST_ROWS_OF_A_CATEGORY] or list(counts)
    most = override.categories or MOST_CATEGORIES
    left_out, kept = len(kept) > most, sorted(kept, key=lambda c: (-counts[c], c))[:most]
    feature = feature.model_copy(update={"categories": tuple(kept)})
    if not left_out:
        return feature, ""
    covered = sum(counts[c] for c in kept) / sum(counts.values())
    return feature, (
        f"column {feature.name!r} has {len(counts):,} categories: the {most} most frequent, "
        f"{covered:.1%} of its values, are kept and the others are scored as unknown: set categories = "
        f"{min(len(counts), 10 * most)} in [schema.{quoted(feature.name)}] to keep more"
    )


def _width(found: DistinctValues) -> int:
    """The digits of codes that all have as many, zeros before them counted; 0: they differ."""
    if not found.is_text:
        return 0
    codes = {values.code(text) or "" for text in found.texts}
    widths = {len(code) for code in codes if code.isascii() and code.isdigit()}
    zeros = any(code.startswith("0") and code.isdigit() for code in codes)
    return widths.pop() if len(widths) == 1 and zeros else 0


def _examples(feature: Feature, found: DistinctValues) -> tuple[str, ...]:
    """The most frequent values; of what tells rows apart, masked as a whole."""
    order = found.counts.argsort(kind="stable")[::-1][:EXAMPLES]
    shown = [masked(found.values[int(i)].as_py()) for i in order]
    return tuple(shown)


def _of_spaces(schema: FeatureSchema) -> Iterator[str]:
    names = [feature.name for feature in schema.scored if feature.name != feature.name.strip()]
    if names:
        listed = some_of(list(map(repr, names)), MOST_ALIKE)
        yield f"{len(names)} names begin or end with a space, and records have to name them so: {listed}"


def _warnings(findings: Sequence[Finding]) -> Iterator[str]:
    """All of them, with columns that many others are like in one line."""
    alike: dict[str, list[str]] = {}
    for finding in findings:
        if finding.warnings and not finding.feature.kind.scored:
            alike.setdefault(finding.why, []).append(finding.feature.name)
    for finding in findings:
        names = alike.get(finding.why, [])
        if finding.feature.kind.scored or len(names) <= MOST_ALIKE:
            yield from finding.warnings
        elif names[0] == finding.feature.name:
            listed = some_of(list(map(repr, names)), MOST_ALIKE)
            yield f"{len(names)} columns are left out: {finding.why} ({listed})"

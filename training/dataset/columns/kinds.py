"""What kind of column one is, by its values and its name, why, and what else it could be."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.models.data.schema import Kind
from nearnorm.models.data.times import TimeFormat
from nearnorm.models.data.toml_text import quoted, toml_text
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.columns.digits import (
    CARD_SHARE,
    Digits,
    are_cards,
    are_months,
    digits_of_numbers,
    digits_of_texts,
    named_identifier,
    why_code,
)
from nearnorm.training.dataset.columns.distinct import DistinctValues
from nearnorm.training.dataset.columns.marks import usual_marks
from nearnorm.training.dataset.columns.time_formats import (
    are_dates,
    are_short_dates,
    epoch_unit,
    format_of_numbers,
    formats_of_texts,
)
from nearnorm.training.dataset.masks import is_email, is_written_card, masked

MOST_CATEGORIES = 100
FEWEST_ROWS_OF_AN_IDENTIFIER = 50
"""In fewer rows than these, distinct values say nothing."""
IDENTIFIER_SHARE = 0.9
IDENTIFIER_SPAN = 2
"""Distinct integers within a range of this many times their number: a counter, whatever the order."""
NUMBER_SHARE = 0.9
MIXED_SHARE = 0.5
FEW_WORDS = 5
"""Beside so many numbers a few words that make categories of them all are told."""
DATE_SHARE = 0.9
EMAIL_SHARE = 0.9
WORDS_OF_A_TEXT = 3
HALF_WAY = 0.2
"""A column whose first fifth is numbers and then is not has changed; a mixed one shows it earlier."""
YES_AND_NO = ({"yes", "no"}, {"y", "n"}, {"t", "f"})
"""Texts that `kind = "boolean"` reads as true and false."""
LONG_NAME = 16
"""Digits from which on all of a column's whole numbers are no amounts."""
FEW_NUMBERS = 20
"""Whole numbers of so few values could be categories as well."""
LOOKED_AT = 1_000
"""Distinct numbers that are looked at for a hint."""
MOMENTS = (1e9, 2.2e9)
"""Epoch seconds from 2001 to 2039: under a name that says nothing of time, only a hint."""
PERIOD = (
    r"^\s*((19|20)\d\d[-/. ]?([Ww](0[1-9]|[1-4]\d|5[0-3])|[Qq][1-4])"  # 2026-W05, 2026Q1
    r"|[Qq][1-4][-/ ]?(19|20)\d\d"  # Q1 2026
    r"|(19|20)\d\d[-/.](0[1-9]|1[0-2])|(0[1-9]|1[0-2])[-/.](19|20)\d\d"  # 2026-01, 01/2026
    r"|(?i:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])\pL{0,7}\.?[- /](19|20)\d\d)\s*$"
)
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
DECIMAL_COMMA = r"^\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+\s*$"
CLOCK = r"^\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?\s*$"  # 09:14:00
DATE = (
    r"^\s*((?i:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+))?"
    r"(\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?"  # 09:14:00
    r"|\d{8}T\d{4}.*"  # 20260131T100000Z
    r"|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ,]+\d{1,2}:\d{2}.*)?"  # 2026-01-31, 2026-01-31T10:00Z
    r"|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})([T ,].*)?"  # 31.01.2026, 31/01/26
    r"|\d{1,2}[- ./]{1,2}[A-Za-z]{3,9}[- ./,]+(\d{4}|\d{2})([T :,].*)?"  # 31-Jan-26
    r"|[A-Za-z]{3,9}\.? +\d{1,2},? (\d{4}([T ].*)?|\d\d:\d\d:\d\d .*\d{4}))\s*$"  # Jan 31, 2026
)


@dataclass(frozen=True)
class Guess:
    """`missing` are marks that are taken as missing, `format` is that of times; `warning` says what could
    hurt, and the mend."""

    kind: Kind
    why: str
    others: tuple[Kind, ...] = ()
    missing: tuple[str, ...] = ()
    warning: str = ""
    format: TimeFormat | None = None


def guess(
    name: str, column: pa.ChunkedArray, found: DistinctValues | None, marks: tuple[str, ...] | None = None
) -> Guess:
    """The kind by rule; `marks` of missing values, where they are known.

    Raises DataError for a column that changes its type half-way.
    """
    if column.null_count == len(column):
        return _left_out(name, "every value is missing")
    if found is None or (pa.types.is_temporal(column.type) and not is_moment(column.type)):
        return _left_out(name, f"values of type {column.type} cannot be scored")
    if len(found.values) == 1 and found.rows == len(column):
        return _left_out(name, "constant")
    if is_moment(column.type):
        return Guess(Kind.TIME, "dates and times by their type", format=format_by_type(column.type))
    if pa.types.is_boolean(column.type):
        return Guess(Kind.BOOLEAN, "true and false")
    if found.is_text:
        return _of_text(found, usual_marks(found.texts) if marks is None else marks, marks is None)
    return _of_numbers(found)


def _left_out(name: str, why: str, kind: Kind = Kind.IGNORED) -> Guess:
    return Guess(kind, why, warning=f"column {name!r} is left out: {why}")


def _of_numbers(found: DistinctValues) -> Guess:
    kind = found.values.type
    integer = pa.types.is_integer(kind)
    numbers = found.values.cast(pa.float64(), safe=False).to_numpy()
    exact = found.values.to_numpy() if integer else numbers
    form = format_of_numbers(found.name, exact)
    if form is not None:
        return _of_stamps(found, form)
    if integer and len(found.values) == found.rows and _is_counter(found):
        return _left_out(found.name, "an identifier: every value is different, as a counter's are", Kind.ID)
    digits = digits_of_numbers(exact, found.rows)
    if digits is not None and are_months(digits):
        return _left_out(found.name, f"periods of time such as {digits.texts[0]}, which do not come again")
    if digits is not None and are_cards(digits):
        return _left_out(found.name, "card numbers")
    why = "" if digits is None else why_code(found.name, digits)
    if why:
        return _code(found.name, why)
    if integer and numbers.min() >= 10 ** (LONG_NAME - 1):
        return _long_name(found)
    if np.isinf(numbers).any():
        warning = f"column {found.name!r} holds an infinity, which no model is trained on: mend its rows"
        return Guess(Kind.NUMERIC, "numbers", warning=warning)
    few = digits is not None and len(numbers) <= FEW_NUMBERS
    warning = "" if digits is None else _of_amounts(found.name, digits, few)
    return Guess(Kind.NUMERIC, "numbers", (Kind.CODE,) if few else (), warning=warning)


def _of_amounts(name: str, digits: Digits, few: bool) -> str:
    """What whole numbers that are taken as amounts may be all the same; `few` could be codes."""
    if named_identifier(name) and not few:
        where = f"in [schema.{quoted(name)}]"
        return (
            f"column {name!r} is taken as an amount, though its name says that it is an identifier. If it is "
            f'one, set kind = "id" {where}, or "code" where each comes again and again'
        )
    low, high = MOMENTS
    if are_dates(digits.numbers[:LOOKED_AT]):
        return _of_times_as_amounts(name, TimeFormat.YMD)
    if are_short_dates(digits.numbers):
        return (
            f"column {name!r} is taken as an amount, and its numbers could be dates, such as "
            f'{digits.texts[0]}: write those as 20260131 or 2026-01-31, and set kind = "time" '
            f'and format = "ymd" in [schema.{quoted(name)}]'
        )
    for unit, form in ((1, TimeFormat.EPOCH_S), (1000, TimeFormat.EPOCH_MS)):
        if low * unit <= digits.numbers.min() and digits.numbers.max() < high * unit:
            return _of_times_as_amounts(name, form)
    return ""


def _of_times_as_amounts(name: str, form: TimeFormat) -> str:
    return (
        f"column {name!r} is taken as an amount, and its numbers could be times. If they are, set "
        f'kind = "time" and format = "{form}" in [schema.{quoted(name)}]'
    )


def _long_name(found: DistinctValues, marks: tuple[str, ...] = ()) -> Guess:
    why = f"whole numbers of {LONG_NAME} digits and more, which are names"
    if len(found.values) >= IDENTIFIER_SHARE * found.rows:
        return _left_out(found.name, f"an identifier: {why}", Kind.ID)
    return _code(found.name, why, marks)


def _nearly_all_differ(found: DistinctValues) -> bool:
    enough = found.rows >= FEWEST_ROWS_OF_AN_IDENTIFIER
    return enough and len(found.values) >= IDENTIFIER_SHARE * found.rows


def _is_counter(found: DistinctValues) -> bool:
    """All values differ: do they fill their range, or rise from row to row, as measurements do not?"""
    if found.rows < FEWEST_ROWS_OF_AN_IDENTIFIER:
        return False
    bounds = pc.min_max(found.values).as_py()
    if bounds["max"] - bounds["min"] < IDENTIFIER_SPAN * found.rows * found.stands_for:
        return True
    ordered = found.column.drop_null().to_numpy()
    return bool((ordered[1:] > ordered[:-1]).all())


def _code(name: str, why: str, missing: tuple[str, ...] = ()) -> Guess:
    return Guess(
        Kind.CODE,
        why,
        (Kind.NUMERIC, Kind.ID),
        missing,
        f"column {name!r} is taken as a code, not as a number: {why}. "
        f'If it is an amount, set kind = "numeric" in [schema.{quoted(name)}]',
    )


def _of_text(found: DistinctValues, marks: tuple[str, ...], proposed: bool) -> Guess:
    """`proposed`: nobody said that the marks are some, so that texts keep them."""
    rest = found.without(marks)
    if not len(rest.values):
        return _left_out(found.name, f"every value is missing ({_listed(marks)})")
    if len(rest.values) <= 2 and {text.lower() for text in rest.texts} <= {"true", "false"}:
        return Guess(Kind.BOOLEAN, "true and false", (Kind.CATEGORICAL,), marks, _of_marks(found, marks))
    numbers = _matches(rest.values, NUMBER)
    share = rest.share(numbers)
    if share == 1.0:
        return _of_written_numbers(found, rest, marks)
    if share > 0.0:
        _refuse_half_numbers(found, rest.values.filter(pa.array(~numbers)), share)
    if rest.share(_matches(rest.values, DATE)) >= DATE_SHARE:
        formats = formats_of_texts(rest.texts)
        if formats:
            return _of_times(found, formats, marks)
        if rest.share(_matches(rest.values, CLOCK)) < DATE_SHARE:
            others = rest.values.filter(pa.array(~_matches(rest.values, DATE)))
            such = f", such as {masked(others[0].as_py())!r}" if len(others) else ""
            return _left_out(found.name, f"dates and times, not all of one form{such}")
    if rest.share(_matches(rest.values, PERIOD)) >= DATE_SHARE:
        return _left_out(
            found.name, f"periods of time such as {rest.texts[0].strip()}, which do not come again"
        )
    if rest.share(np.array([is_written_card(text) for text in rest.texts])) >= CARD_SHARE:
        return _left_out(found.name, "card numbers")
    if rest.share(np.array([is_email(text) for text in rest.texts])) >= EMAIL_SHARE:
        return _left_out(found.name, "e-mail addresses", Kind.ID)
    comma = rest.share(_matches(rest.values, DECIMAL_COMMA)) >= NUMBER_SHARE
    if comma and _nearly_all_differ(rest):
        return _left_out(found.name, f"texts such as {masked(rest.texts[0])!r}: write numbers as numbers")
    if _nearly_all_differ(rest):
        words = np.mean([len(text.split()) for text in rest.texts])
        if words >= WORDS_OF_A_TEXT:
            return _left_out(found.name, "free text: nearly every value is different")
        return _left_out(found.name, "an identifier: nearly every value is different", Kind.ID)
    warning = ""
    if marks and proposed:
        warning = (
            f"column {found.name!r} holds {_listed(marks)}, taken as a category. If that means missing, set "
            f"missing = [{_listed(marks)}] in [schema.{quoted(found.name)}]"
        )
    if comma:
        warning = (
            f"column {found.name!r} is taken as categories, and its texts, such as "
            f"{masked(rest.texts[0])!r}, could be numbers: if they are, write them as numbers"
        )
    words = rest.values.filter(pa.array(~numbers))
    if share >= MIXED_SHARE and len(words) <= FEW_WORDS:
        warning = (
            f"column {found.name!r} is taken as categories, of which {share:.0%} are numbers: "
            f"{_listed(tuple(map(masked, words.to_pylist())))} are none. If they mean missing, set "
            f"missing to them in [schema.{quoted(found.name)}]"
        )
    yes_or_no = {text.strip().lower() for text in rest.texts} in YES_AND_NO
    others = (Kind.BOOLEAN,) if yes_or_no else (Kind.ID, Kind.IGNORED)
    return Guess(Kind.CATEGORICAL, "texts that come again", others, warning=warning)


def _of_written_numbers(found: DistinctValues, rest: DistinctValues, marks: tuple[str, ...]) -> Guess:
    """Texts that are numbers, marks aside."""
    if all(text.isdigit() for text in rest.texts):
        form = format_of_numbers(found.name, np.array([float(text) for text in rest.texts]))
        if form is not None:
            return _of_stamps(found, form)
    digits = digits_of_texts(rest.texts, rest.rows)
    if digits is not None and are_cards(digits):
        return _left_out(found.name, "card numbers")
    why = "" if digits is None else why_code(found.name, digits)
    if why and digits is not None and digits.leading_zeros and _nearly_all_differ(rest):
        return _left_out(found.name, f"an identifier: {why}, nearly all different", Kind.ID)
    if why:
        return _code(found.name, why, marks)
    if all(len(text.strip()) >= LONG_NAME and text.strip().isdigit() for text in rest.texts):
        return _long_name(found, marks)
    if marks:
        return Guess(
            Kind.NUMERIC,
            "numbers, and marks of missing ones",
            (Kind.CODE, Kind.CATEGORICAL),
            marks,
            _of_marks(found, marks),
        )
    if len(rest.values) > MOST_CATEGORIES:
        return Guess(Kind.NUMERIC, "texts that are numbers", (Kind.CODE,))
    return Guess(Kind.CATEGORICAL, "texts that are numbers, of few values", (Kind.NUMERIC, Kind.CODE))


def _of_marks(found: DistinctValues, marks: tuple[str, ...]) -> str:
    if not marks:
        return ""
    share = found.rows / max(found.rows_in_all, 1) - found.without(marks).rows / max(found.rows_in_all, 1)
    return (
        f"column {found.name!r}: {_listed(marks)} ({share:.1%} of its rows) is taken as missing. If it is a "
        f'value, set kind = "categorical" and missing = [] in [schema.{quoted(found.name)}]'
    )


def is_moment(kind: pa.DataType) -> bool:
    """Whether Arrow's type is one of dates and times, and not of how long something takes."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind))


def format_by_type(kind: pa.DataType) -> TimeFormat:
    """What texts that stand for such values look like."""
    return TimeFormat.CLOCK if pa.types.is_time(kind) else TimeFormat.ISO


def time_format(found: DistinctValues) -> TimeFormat | None:
    """The likeliest format of a column that holds times; None: its values are no times of one form."""
    kind = found.values.type
    if is_moment(kind):
        return format_by_type(kind)
    if found.is_text:
        return next(iter(formats_of_texts(found.texts)), None)
    numbers = found.values.cast(pa.float64(), safe=False).to_numpy()
    return epoch_unit(numbers) if len(numbers) else None


def _of_times(found: DistinctValues, formats: tuple[TimeFormat, ...], marks: tuple[str, ...]) -> Guess:
    first, *others = formats
    warning = _of_marks(found, marks)
    if others:
        example = masked(found.without(marks).texts[0])
        warning = (
            f'column {found.name!r} holds times such as {example}, read as format = "{first}"; they could be '
            f'"{others[0]}" too: say which in [schema.{quoted(found.name)}]'
        )
    why = f"times, written as {first.example}"
    return Guess(Kind.TIME, why, (Kind.CATEGORICAL, Kind.IGNORED), marks, warning, first)


def _of_stamps(found: DistinctValues, form: TimeFormat) -> Guess:
    warning = (
        f'column {found.name!r} is taken as times, format = "{form}", by its name and its numbers\' size. '
        f'If they are amounts, set kind = "numeric" in [schema.{quoted(found.name)}]'
    )
    why = f"numbers that are times, as {form.example}"
    return Guess(Kind.TIME, why, (Kind.NUMERIC, Kind.IGNORED), warning=warning, format=form)


def _listed(marks: tuple[str, ...]) -> str:
    return ", ".join(toml_text(mark) for mark in marks)


def _matches(texts: pa.Array, pattern: str) -> np.ndarray:
    matched: np.ndarray = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return matched


def _refuse_half_numbers(found: DistinctValues, texts: pa.Array, share: float) -> None:
    column = found.column
    row = pc.index(pc.is_in(column.cast(pa.string()), texts), True).as_py()
    if share >= NUMBER_SHARE or row >= HALF_WAY * len(column):
        held = column[row].as_py()
        where = f"[schema.{quoted(found.name)}]"
        raise DataError(
            f"column {found.name!r} changes its type: row {row + 1} holds {masked(held)!r} where others hold "
            f"numbers: mend the row, or in {where} set missing = [{toml_text(held)}], if that means missing, "
            'or kind = "categorical"'
        )

"""How a CSV file is written, found from its beginning: separator, quote, decimal sign."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.data.files.spelled_numbers import decimal_sign, is_spelled_number, may_be_grouped

SEPARATORS = (",", ";", "\t", "|")
"""The earlier one where two fit alike."""
LEAST_SHARE = 0.9
"""Of the sampled rows that have as many fields as the header: a few may be damaged."""
SAMPLED_ROWS = 200
_SEP_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """`skip_rows` are before the header; `doubtful` is a text by column, which is read with a decimal point
    and may mean thousands."""

    separator: str
    quote: str
    decimal: str
    skip_rows: int
    doubtful: Mapping[str, str]


def find_dialect(sample: str, whole: bool, given: FileFormat) -> Dialect:
    """The dialect of a file that begins with `sample`, its last row perhaps cut; what is given stands."""
    skip = 0
    separators: tuple[str, ...] = SEPARATORS
    named = _SEP_LINE.match(sample)
    if named:
        skip, separators, sample = 1, (named[1],), sample[named.end() :]
    if given.separator is not None:
        separators = (given.separator,)
    quote = given.quote or _quote(sample, separators)
    read = {separator: _rows(sample, separator, quote, whole) for separator in separators}
    separator = max(separators, key=lambda s: (*_fit(read[s]), -separators.index(s)))
    header, *body = read[separator] or [[]]
    columns = list(zip(*(row for row in body if len(row) == len(header)), strict=True))
    decimal = given.decimal or decimal_sign(columns, separator)
    doubtful: dict[str, str] = {}
    if decimal == "." and given.decimal is None:
        for name, cells in zip(header, columns, strict=False):
            texts = [cell for cell in cells if any(map(str.isdigit, cell))]
            marked = [text for text in texts if "." in text]
            if may_be_grouped(texts, ".") and (separator == ";" or len(marked) < len(texts)):
                doubtful[name] = marked[0]
    return Dialect(separator, quote, decimal, skip, doubtful)


def _quote(sample: str, separators: Sequence[str]) -> str:
    """A single quote where every name of the header stands in two of them."""
    header = sample.split("\n", 1)[0].rstrip("\r")
    for separator in separators:
        names = header.split(separator)
        if len(names) > 1 and all(len(n) > 1 and n[0] == n[-1] == "'" for n in names):
            return "'"
    return '"'


def _rows(sample: str, separator: str, quote: str, whole: bool) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator, quotechar=quote):
            if row:
                rows.append(row)
            if len(rows) > SAMPLED_ROWS:
                return rows
    except csv.Error:  # a field of megabytes: no such separator
        pass
    return rows if whole or len(rows) < 2 else rows[:-1]


def _fit(rows: Sequence[Sequence[str]]) -> tuple[bool, float, int]:
    """Whether rows have the header's fields, how many cells are numbers, and how many fields there are."""
    if not rows or len(rows[0]) < 2:
        return False, 0.0, 0
    width, body = len(rows[0]), rows[1:]
    same = [row for row in body if len(row) == width]
    if body and len(same) < LEAST_SHARE * len(body):
        return False, 0.0, width
    cells = [cell for row in same for cell in row]
    numbers = sum(not cell.strip() or is_spelled_number(cell) for cell in cells)
    return True, numbers / max(len(cells), 1), width

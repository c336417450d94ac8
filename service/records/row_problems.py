"""What is told of a row that does not fit."""

from nearnorm.service.errors import TYPE_PREFIX
from nearnorm.service.records.limits import CATEGORY_CHARACTERS
from nearnorm.service.records.shapes import RowProblem

_TITLES = {
    "malformed-line": "The line cannot be read",
    "not-a-record": "The record is not an object",
    "unknown-field": "The field is unknown",
    "invalid-value": "The value does not fit the feature",
    "missing-value": "A required value is missing",
}


def row_problem(name: str, detail: str, field: str | None = None) -> RowProblem:
    return RowProblem(TYPE_PREFIX + name, _TITLES[name], detail, field)


def category_too_long(field: str, text: str) -> RowProblem:
    detail = f"{field}: {len(text)} characters were sent, and {CATEGORY_CHARACTERS} are allowed: shorten it"
    return row_problem("invalid-value", detail, field)

"""JSON lines (NDJSON): a record a line. What is wrong with a line is that row's problem alone."""

from nearnorm.service.errors import MalformedBody
from nearnorm.service.records.limits import RECORD_BYTES
from nearnorm.service.records.loose_json import decoded, whole_characters
from nearnorm.service.records.row_problems import row_problem
from nearnorm.service.records.shapes import RowProblem

_BOM = b"\xef\xbb\xbf"
"""Some editors begin a file of UTF-8 with it."""


def count(body: bytes) -> int:
    """How many lines there are; an end of the last one begins no other."""
    return body.count(b"\n") + (not body.endswith(b"\n") and len(body) > 0)


def split(body: bytes) -> list[bytes]:
    """The lines without their ends; a carriage return is white space to JSON."""
    lines = body.removeprefix(_BOM).split(b"\n")
    return lines[:-1] if body.endswith(b"\n") or not body else lines


def record_of(line: bytes, mend_characters: bool) -> object:
    """What a line holds, whatever that is, or the problem with it. `mend_characters`: halves of characters
    become U+FFFD."""
    if len(line) > RECORD_BYTES:
        detail = f"the line has {len(line):,} bytes, and {RECORD_BYTES:,} are allowed"
        return row_problem("malformed-line", f"{detail}: leave out what the model does not know")
    if not line or line.isspace():
        return row_problem("malformed-line", "the line is empty: send a record, or leave it out")
    found = _read(line)
    if isinstance(found, RowProblem) and mend_characters and (whole := whole_characters(line)) != line:
        return _read(whole)
    return found


def _read(line: bytes) -> object:
    try:
        return decoded(line, "the line")
    except MalformedBody as error:
        return row_problem("malformed-line", error.detail)

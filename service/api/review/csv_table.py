"""A table as CSV that a spreadsheet can open safely: no cell of it is a formula."""

import csv
import io
from collections.abc import Sequence

_WIDE = ("\uff1d", "\uff0b", "\uff0d", "\uff20")  # =, +, -, @, which some spreadsheets read as the plain ones
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *_WIDE)
"""What texts begin with that a spreadsheet computes."""


def csv_table(rows: Sequence[dict[str, object]]) -> str:
    """Rows by column, RFC 4180, with the columns of all of them in the order in which they come first."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    """Numbers as they are; a text that begins like a formula after a quote, which makes it text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.lstrip(" \u00a0\ufeff\u200b").startswith(_FORMULA):
        return f"'{value}"
    return value

"""What a request may hold, counted before it is decoded: what takes long holds everybody up.

Each limit is far above what records need: 10,000 rows of a hundred features are within all of them.
"""

import numpy as np

from nearnorm.service.errors import BodyTooLarge, TooManyRows

ID_CHARACTERS = 200
"""Longest id of a row, and name of a model."""
CATEGORY_CHARACTERS = 1_000
"""Longest text of a category that training never saw: it is kept with the event."""
NAME_CHARACTERS = 100
"""Characters of a caller's own name for a field that an answer repeats."""
MOST_VALUES = 1_000_000
"""Values in one body. Decoding takes 50 nanoseconds for each, during which nobody else is answered."""
MOST_DOCUMENT_VALUES = 200_000
"""The same in bodies of other routes, which become Python's objects as a whole."""
MOST_CELLS = 1_000_000
"""Rows times features of one request: of a row that is sent empty every feature is named as imputed."""
RECORD_BYTES = 2**20
"""Largest record as JSON."""
MOST_NAME_BYTES = 16 * 2**20
"""Names of missing features in one answer; all else in it is bounded by rows."""


def check_values(body: bytes, most: int = MOST_VALUES) -> None:
    """Raises BodyTooLarge where JSON holds more than so many values, going by commas and brackets."""
    if len(body) <= most:
        return
    text = np.frombuffer(body, np.uint8)
    values = sum(int(np.count_nonzero(text == ord(mark))) for mark in ",[{")
    if values > most:
        raise BodyTooLarge(
            f"the body holds {values:,} values, lists and objects, and {most:,} are allowed: "
            "send fewer at once"
        )


def most_rows(allowed: int, features: int) -> int:
    """Rows of one request of a model with so many features."""
    return max(1, min(allowed, MOST_CELLS // max(1, features)))


def check_names(size: int) -> None:
    """Raises TooManyRows where an answer would name the missing features of its rows in so many bytes."""
    if size > MOST_NAME_BYTES:
        raise TooManyRows(
            f"the answer would name missing features in {size:,} bytes, and {MOST_NAME_BYTES:,} are allowed: "
            "send fewer rows at once, or their values"
        )


def shortened(text: str, most: int = NAME_CHARACTERS) -> str:
    """As an answer repeats what a caller sent."""
    return text if len(text) <= most else text[: most - 1] + "…"

"""One value -> a number, a boolean or a category: the coercions of docs/api.md, for every way in.

Each function answers None for a missing value and raises ValueError with a sentence for a value that
cannot be coerced.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Set
from typing import TypeVar

T = TypeVar("T")

MOST_CHARACTERS = 1_000
"""Longest text that is read as a number or a boolean: reading one of megabytes would take long."""
_TRUE = frozenset({"true", "1", "yes", "y", "t"})
_FALSE = frozenset({"false", "0", "no", "n", "f"})
_WHOLE = re.compile(r"([0-9]+)\.0+")  # how a table writes a code that it took for a number


def number(value: object) -> float | None:
    """A finite number; booleans are 1 and 0, text is parsed, blank text is missing."""
    if value is None:
        return None
    if isinstance(value, str):
        return _parsed(value)
    if isinstance(value, (int, float)):
        return _finite(value)
    raise ValueError(f"a number was expected, not {_named(value)}")


def boolean(value: object) -> float | None:
    """1.0 or 0.0 from true and false, 1 and 0, their text, yes and no; blank text is missing."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip().lower() if len(value) <= MOST_CHARACTERS else value
        if not text:
            return None
        if text in _TRUE:
            return 1.0
        if text in _FALSE:
            return 0.0
    elif isinstance(value, (int, float)) and value in (0, 1):
        return float(value)
    raise ValueError(f"true or false was expected, not {_named(value)}")


def category(value: object) -> str | None:
    """Text as it stands ("" is a category, not a missing one); 5 and 5.0 are "5", True is "true"."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        finite = _finite(value)
        if isinstance(value, int):
            return str(value)
        return str(int(finite)) if finite.is_integer() else repr(finite)
    raise ValueError(f"text was expected, not {_named(value)}")


def code(value: object, width: int = 0) -> str | None:
    """The name that digits are: 5411, 5411.0, "5411", " 5411.0 " are "5411", True and "True" "true".

    Digits are filled up with zeros to `width`, which numbers do not carry. Blank text is missing.
    """
    if not isinstance(value, str):
        text = category(value)
    elif len(value) > MOST_CHARACTERS:
        return value
    else:
        text = value.strip()
        whole = _WHOLE.fullmatch(text)
        if whole:
            text = whole[1]
        elif text.lower() in ("true", "false"):
            text = text.lower()
    if text and width and text.isascii() and text.isdigit():
        text = text.zfill(width)
    return text or None


def composed(text: str) -> str:
    """A text in Unicode's normal form C: ü is one character, however it was typed. Longer ones stay, as
    composing them could take long."""
    return text if text.isascii() or len(text) > MOST_CHARACTERS else unicodedata.normalize("NFC", text)


def unless_missing(read: Callable[[object], T], marks: Set[str], value: object) -> T | None:
    """What `read` makes of a value; None for a text that is one of the marks, spaces around it aside."""
    if isinstance(value, str) and len(value) <= MOST_CHARACTERS and value.strip() in marks:
        return None
    return read(value)


def _parsed(text: str) -> float | None:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a number was expected, not {_named(text)}")
    stripped = text.strip()
    if not stripped:
        return None
    try:
        if "_" in stripped:  # Python's own spelling of digits, nobody else's
            raise ValueError
        parsed = float(stripped)
    except ValueError:
        raise ValueError(f"a number was expected, not {_named(text)}") from None
    return _finite(parsed)


def _finite(value: float) -> float:
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        raise ValueError("a finite number was expected, not NaN or an infinity")
    return as_float


def _named(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:39] + "…")
    if isinstance(value, (int, float)):
        return str(value)
    return f"a value of type {type(value).__name__}"

"""Missing marks: what people and programs write where there is no value."""

import re
from collections.abc import Iterable

_WORDS = frozenset({"na", "n/a", "n.a.", "nan", "null", "none", "nil", "missing", "n/d", "nd"})
_SIGNS = frozenset(
    {
        "?",
        "-",
        "--",
        ".",
        "\\n",
        "#n/a",
        "#na",
        "<na>",
        "(null)",
        "#nv",
        "#n/d",
    }
)
USUAL = _WORDS | _SIGNS
"""In lower case, without spaces around them."""
_ERROR = re.compile(r"#[\w/¡]{2,12}[!?]")
"""What spreadsheets say in any language: #DIV/0!, #WERT!, #NAME?"""


def usual_marks(texts: Iterable[str]) -> tuple[str, ...]:
    """Those of the texts that usually stand for a missing value, as they are spelled, in order."""
    stripped = {text.strip() for text in texts}
    return tuple(sorted(text for text in stripped if text.lower() in USUAL or _ERROR.fullmatch(text)))

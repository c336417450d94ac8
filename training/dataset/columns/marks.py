"""Missing marks: what people and programs write where there is no value."""

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
        "#null!",
        "#value!",
        "#div/0!",
        "#ref!",
        "#name?",
        "#num!",
    }
)
USUAL = _WORDS | _SIGNS
"""In lower case, without spaces around them."""


def usual_marks(texts: Iterable[str]) -> tuple[str, ...]:
    """Those of the texts that usually stand for a missing value, as they are spelled, in order."""
    return tuple(sorted({text.strip() for text in texts if text.strip().lower() in USUAL}))

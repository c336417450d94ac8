"""Names in a sentence: the first of them, and how many more there are."""

from collections.abc import Sequence

MOST_NAMED = 20


def some_of(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """With commas between them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

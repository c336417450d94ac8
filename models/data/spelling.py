"""Names of columns, however they were typed: ü is one character or two, and means the same column."""

import unicodedata
from collections.abc import Collection, Sequence

from nearnorm.models.data.values import composed


def spelled(names: Sequence[str], known: Collection[str] = ()) -> list[str]:
    """The names as `known` spells them, else in Unicode's normal form C; one that is given twice stays."""
    if all(map(str.isascii, names)):
        return list(names)
    as_known = {composed(name): name for name in known}
    taken = set(names)
    found = []
    for name in names:
        other = name if name in known else as_known.get(composed(name), composed(name))
        found.append(name if other in taken else other)
        taken.add(found[-1])
    return found


def spellings(names: Collection[str]) -> set[str]:
    """The names, and how a file may spell them."""
    return {form for name in names for form in (name, composed(name), unicodedata.normalize("NFD", name))}

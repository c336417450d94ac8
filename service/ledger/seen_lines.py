"""The lines that a key is bound to: by their names, or by how these begin (`payments-*`)."""

import re
from collections.abc import Iterable
from typing import Self

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.models.errors import ConfigError

_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\*?|\*")


class SeenLines(Struct, frozen=True):
    """`patterns` None: every line."""

    patterns: tuple[str, ...] | None

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        """Raises ConfigError for what is neither a name nor the beginning of one with a `*` behind it."""
        wanted = tuple(sorted(set(patterns)))
        if wrong := [one for one in wanted if not _PATTERN.fullmatch(one)]:
            raise ConfigError(
                f"{wrong[0][:80]!r} names no models: write a name, or how names begin with a * at the end, "
                "as in payments-*"
            )
        return cls(None if "*" in wanted else wanted)

    @classmethod
    def stored(cls, cell: str | None) -> Self:
        return cls(None if cell is None else tuple(cell.split(",")))

    @property
    def cell(self) -> str | None:
        """As it is stored."""
        return None if self.patterns is None else ",".join(self.patterns)

    @property
    def is_every(self) -> bool:
        return self.patterns is None

    def sees(self, model: str) -> bool:
        if self.patterns is None:
            return True
        return any(_fits(pattern, model) for pattern in self.patterns)

    def covers(self, other: "SeenLines") -> bool:
        """Whether it sees all that the other one does."""
        if self.patterns is None:
            return True
        return other.patterns is not None and all(self.sees(pattern) for pattern in other.patterns)

    def where(self, model: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """`sees` in SQL. Not by LIKE, to which upper case is the same as lower in SQLite."""
        if self.patterns is None:
            return sa.true()
        names = [pattern for pattern in self.patterns if not pattern.endswith("*")]
        starts = [pattern[:-1] for pattern in self.patterns if pattern.endswith("*")]
        beginning = (sa.func.substr(model, 1, len(start)) == start for start in starts)
        return sa.or_(sa.false(), model.in_(names), *beginning)

    def __str__(self) -> str:
        return "every model" if self.patterns is None else ", ".join(self.patterns)


def _fits(pattern: str, model: str) -> bool:
    """`model` may be a pattern too: then whether all that it means is meant."""
    if pattern.endswith("*"):
        return model.startswith(pattern[:-1])
    return model == pattern


EVERY_LINE = SeenLines(None)
NO_LINE = SeenLines(())

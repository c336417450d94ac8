"""Families of data sets by source and kind (families.toml), and which of them choices may see."""

import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("families.toml")


@cache
def _families() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def is_left_out(name: str) -> bool:
    return _place(name)[0] == "left_out"


def in_families(names: Iterable[str]) -> dict[str, list[str]]:
    """The data sets by family."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_place(name)[1], []).append(name)
    return found


def _place(name: str) -> tuple[str, str]:
    """Raises KeyError for a set that is in no family: it has to be put into one before it is looked at."""
    for part, families in _families().items():
        for family, patterns in families.items():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                return part, family
    raise KeyError(f"{name} is in no family of {FILE.name}")

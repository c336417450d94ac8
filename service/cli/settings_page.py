"""docs/configuration.md, written from the settings: `python -m nearnorm.service.cli.settings_page`."""

import ast
import inspect
import itertools
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal

from nearnorm.service.settings import PREFIX, Settings

_HEAD = """# Configuration

Environment variables, read once at the start; an unknown one that begins with `NEARNORM_` is refused.
This page is written from `service/settings.py` by `make docs`.

| variable | value | default | what it does |
|---|---|---|---|
"""


def page() -> str:
    meanings = descriptions()
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_values(field.annotation)}{_bounds(field.metadata)} | "
        f"{_default(field.default)} | {meanings[name]} |"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "\n".join(rows) + "\n"


def descriptions() -> dict[str, str]:
    """The string below each field, on one line."""
    (body,) = [n.body for n in ast.parse(inspect.getsource(Settings)).body if isinstance(n, ast.ClassDef)]
    meanings = {}
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                meanings[field.target.id] = " ".join(text.value.split())
    return meanings


def _values(kind: object) -> str:
    if typing.get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    if isinstance(kind, types.UnionType):
        return " or ".join(_values(part) for part in typing.get_args(kind) if part is not type(None))
    names = {str: "text", int: "integer", float: "number", bool: "`true`, `false`", Path: "path"}
    return names.get(typing.cast("type", kind), "text")


def _bounds(metadata: list[Any]) -> str:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{word} {getattr(limit, sign):,}"
        for limit in metadata
        for sign, word in signs.items()
        if hasattr(limit, sign)
    ]
    return ", " + ", ".join(bounds) if bounds else ""


def _default(value: object) -> str:
    if value is None:
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(page())

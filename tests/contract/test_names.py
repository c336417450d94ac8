"""Names that must mean one thing: the package's, and those of its public classes."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nearnorm
from nearnorm.service.cli.main import cli

ROOT = Path(__file__).parents[2]
ROOMS = ("models", "service", "training")
FILES = sorted(
    path
    for folder in (*ROOMS, "tests", "src/nearnorm", "src/nearnorm/client", "src/nearnorm/detector")
    for path in (ROOT / folder).rglob("*.py")
    if folder != "src/nearnorm" or path.parent == ROOT / folder  # its rooms are links to the first three
)
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "Dockerfile"])

_ROOM = "(?:models|service|training)"
IMPORT = re.compile(
    rf"(?<!from nearnorm )\bimport {_ROOM}(?=[.;,\n]| as |$)"
    rf"|\bfrom {_ROOM}[\w.]* import |-m {_ROOM}(?=[. \n]|$)"
)
"""Of a room as if it were a package of its own: from the checkout's root both names would load, and there
would be two copies of every state."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def texts(module: ast.Module) -> Iterator[str]:
    """Strings of a module, programs among them, but for what documents it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_a_room_is_imported_by_the_packages_name_alone() -> None:
    found = {}
    for path in FILES:
        module = tree(path)
        names = [name for name in imported(module) if name.partition(".")[0] in ROOMS]
        if path != Path(__file__):
            names += [text for text in texts(module) if IMPORT.search(text)]
        if names:
            found[str(path.relative_to(ROOT))] = names
    assert found == {}


def test_pages_name_a_room_by_the_packages_name_alone() -> None:
    found = {path.name: IMPORT.findall(path.read_text()) for path in PAGES}
    assert {name: programs for name, programs in found.items() if programs} == {}


@pytest.mark.parametrize(
    "program",
    ["import service", "from models.store import x", "a; import training.job", "python -m service serve"],
)
def test_what_is_looked_for_is_found(program: str) -> None:
    assert IMPORT.search(program)


@pytest.mark.parametrize(
    "program", ["import nearnorm.service", "from nearnorm import models", "python -m nearnorm.training.job"]
)
def test_the_packages_name_is_not_taken_for_it(program: str) -> None:
    assert not IMPORT.search(program)


def test_a_public_class_has_its_name_alone() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        if path.relative_to(ROOT).parts[0] == "tests":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    twice = {name: places for name, places in found.items() if len(places) > 1}
    assert twice == {}


def test_the_version_is_told_by_the_command_line() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.output) == (0, f"nearnorm {nearnorm.__version__}\n")

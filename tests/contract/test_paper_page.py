"""docs/paper.md says which equation is where: every name that it gives is in the file beside it."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "paper.md"
FILE = re.compile(r"\[[\w.]+\]\(([\w./]+\.py)\)([^;|]*)")
PLACES = [
    (file, name)
    for file, names in FILE.findall(PAGE.read_text())
    for name in re.findall(r"`([\w.]+)`", names)
]


def names_of(path: Path) -> set[str]:
    """Functions, classes, their methods and constants of a module."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            for target in node.targets:
                elements = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {element.id for element in elements if isinstance(element, ast.Name)}
    return found


def test_the_page_has_equations() -> None:
    assert len(PLACES) > 20


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_what_an_equation_names_is_in_the_file_beside_it(file: str, name: str) -> None:
    assert name in names_of((PAGE.parent / file).resolve())

"""What the pages, README and the Makefile name is there: files, folders, modules, linked headings."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [
        *(ROOT / "README.md", ROOT / "Makefile"),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").rglob("*.md")),
    ]
}
PLACE = re.compile(r"(?<![\w/.:-])((?:service|training|models|tests|deploy|docs|examples|src)/[\w./-]*\w)")
FILE = re.compile(r"`([\w-]+\.(?:py|sh|lock))`")
"""A file by its name alone, which is none: which of the rooms holds it?"""
MODULE = re.compile(r"-m ((?:tests|examples)(?:\.\w+)+|nearnorm(?:\.\w+)*)")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")
ROUTES = {"models/rollback"}


@pytest.mark.parametrize("document", PAGES)
def test_every_path_that_a_page_names_is_there(document: str) -> None:
    named = set(PLACE.findall(PAGES[document])) - ROUTES
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("document", PAGES)
def test_a_page_names_a_file_by_its_whole_path(document: str) -> None:
    assert [name for name in FILE.findall(PAGES[document]) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", PAGES)
def test_every_module_that_a_page_runs_is_there(document: str) -> None:
    for name in MODULE.findall(PAGES[document]):
        base = ROOT / ("src" if name.startswith("nearnorm") else "") / name.replace(".", "/")
        assert base.is_dir() or base.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("document", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(document: str) -> None:
    for name, heading in LINK.findall(PAGES[document]):
        target = (ROOT / document).parent / name if name else ROOT / document
        assert target.exists(), name
        if heading:
            assert heading in headings(target), f"{name}#{heading}"


def test_the_files_that_a_run_begins_with_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).exists()] == []


def headings(page: Path) -> set[str]:
    """By the ids that a page's reader gives them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def rooms(part: str) -> list[str]:
    """Those that docs/architecture.md lists, in its order."""
    return re.findall(rf"^\| `{part}/(\w+)` \|", PAGES["docs/architecture.md"], re.MULTILINE)


@pytest.mark.parametrize("part", ["service", "training", "models"])
def test_the_architecture_page_lists_every_room_and_no_other(part: str) -> None:
    folders = {path.name for path in (ROOT / part).iterdir() if path.is_dir()} - {"__pycache__"}
    assert set(rooms(part)) == folders


@pytest.mark.parametrize("part", ["service", "training"])
def test_the_architecture_page_lists_rooms_in_the_order_that_imports_may_go(part: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers" and f".{part}." in c["layers"][0]]
    depth: dict[str, int] = {}
    for level, names in enumerate(layers):
        for name in names.split(" | "):
            depth.setdefault(name.split(".")[2], level)
    listed = [room for room in rooms(part) if room in depth]
    assert len(listed) > 5
    for above, below in pairwise(listed):
        assert depth[above] <= depth[below], (above, below)

"""docs/reliability.md and docs/threat-model.md promise nothing without a test that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("reliability", "threat-model")}


def there() -> set[str]:
    """The names of all tests."""
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        found |= set(re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE))
    return found


@pytest.mark.parametrize("document", PAGES)
def test_every_test_that_a_page_names_is_there(document: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGES[document]))
    assert named
    assert sorted(named - there()) == []


def test_every_fault_has_a_test() -> None:
    table = PAGES["reliability"].partition("## Faults")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| fault")]
    assert len(rows) >= 20
    assert [row for row in rows if not re.search(r"\| `test_\w+`", row)] == []


def test_every_defence_has_a_test() -> None:
    table = PAGES["threat-model"].partition("## What is defended")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(rows) >= 10
    assert [row for row in rows if not re.search(r"`test_\w+`", row)] == []


@pytest.mark.parametrize("document", PAGES)
def test_every_file_that_a_page_links_is_there(document: str) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGES[document])
    assert [name for name in linked if not (ROOT / "docs" / name).is_file()] == []

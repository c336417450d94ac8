"""A run of the tests says first what this machine lacks for the whole of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.programs import PROGRAMS

ROOT = Path(__file__).parents[2]


def test_a_run_says_what_it_skips_and_what_to_install_for_it() -> None:
    bare = {**os.environ, "PATH": "/nowhere"}
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", __file__],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for program in PROGRAMS:
        assert f"without {program.name} ({program.package})" in told


def test_every_program_that_a_test_looks_for_is_listed() -> None:
    looked_for: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        looked_for |= set(re.findall(r"""which\(["'](\w+)["']\)""", file.read_text()))
    assert looked_for
    assert looked_for <= {program.name for program in PROGRAMS}


def test_readme_names_what_the_whole_of_the_tests_wants() -> None:
    told = (ROOT / "README.md").read_text().lower()
    assert [p.name for p in PROGRAMS if p.package.startswith("apt-get") and p.name not in told] == []

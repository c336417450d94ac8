"""What a run says before it starts, and which files it begins with."""

from collections import Counter
from pathlib import Path

import pytest

from tests import environments, programs

LONGEST = (
    *("examples/test_stories.py", "training/loop/test_challenger.py", "journey/test_poisoner.py"),
    *("service/batch/parts/test_on_ray.py", "training/loop/test_retrain.py", "chaos/test_streams.py"),
    *("deploy/test_image.py", "chaos/test_backup_kills.py", "chaos/test_kills.py"),
    *("service/pages/test_closing_the_loop.py", "journey/test_loop_journey.py"),
    *("contract/test_engines_page.py", "detector/test_conformance.py", "journey/test_paper_journey.py"),
    *("service/retraining/attempts/test_real_trainings.py", "training/test_time_signal.py"),
    *("training/comparison/test_compare.py", "deploy/test_starting.py"),
    *("service/pages/test_docs_page.py", "journey/test_current_folder.py"),
    *("journey/test_european_file.py", "upgrades/test_next.py", "contract/test_attack.py"),
    "training/dataset/lake/test_on_ray.py",
)
"""Files of few tests that take half a minute and more: begun last, all other workers would wait for them."""


def pytest_report_header() -> list[str]:
    """What will be skipped on this machine, and what to install for it."""
    return programs.missing() + environments.missing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then by how many tests they have."""
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONGEST)}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (place.get(item.path, len(place)), -tests[item.path]))

"""The examples' stories are told in small, with real commands, a real service and its worker."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.network.story import tell as network
from examples.payments.story import tell as payments
from examples.picture import draw
from examples.rounds import FIRST, FOREST, SERVED, Round

QUICK = "[fit]\nrepresentation_epochs = 1\njoint_epochs = 2\nmembers = 2\nforests = 1\ntrees = 2\n"


@pytest.mark.timeout(900)  # a busy machine; about 20 s of processor time each
@pytest.mark.parametrize(
    "story",
    [
        lambda folder, config: payments(folder, cards=80, live=1, seed=0, config=config),
        lambda folder, config: network(folder, batches=1, seed=0, config=config),
    ],
    ids=["payments", "network"],
)
def test_a_story_is_told_to_its_end_and_its_picture_is_drawn(
    story: Callable[[Path, Path], list[Round]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "quick.toml"
    config.write_text(QUICK)
    (only,) = story(tmp_path / "story", config)
    assert 0 < only.anomalies < only.rows
    assert set(only.found) == set(only.precision) == {SERVED, FIRST, FOREST}
    assert all(found <= min(only.alerts, only.anomalies) for found in only.found.values())
    assert re.match(r"a retraining (succeeded|refused): .", only.retraining)
    assert str(only) in capsys.readouterr().out
    draw([only], "Story", "frauds", tmp_path / "story.svg")
    assert (tmp_path / "story.svg").read_text().startswith("<?xml")

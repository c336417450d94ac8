"""A few kills of a streamer, as `make chaos` does fifty."""

from pathlib import Path

import pytest

from tests.chaos.streams import run

KILLS = 3


@pytest.mark.parametrize("broker", ["tansu", "noida"])
def test_a_killed_streamer_loses_no_record_and_tells_what_it_answers_again(
    tmp_path: Path, broker: str
) -> None:
    outcome = run(broker, KILLS, tmp_path)
    assert outcome.ok, outcome
    assert outcome.exactly_once == (broker == "noida")
    assert outcome.kept > 0

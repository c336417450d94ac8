"""A few of the many kills of `make chaos`."""

import pytest

from tests.chaos.kills import run


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_acknowledged_label_is_lost_or_doubled_when_the_service_is_killed(database: str) -> None:
    outcome = run(database, kills=5)
    assert outcome.ok, outcome

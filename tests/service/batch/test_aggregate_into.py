"""`nearnorm aggregate --into`: who keeps counts for a model that goes by others, or by none, is told."""

from pathlib import Path
from typing import Any

import pytest

from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.commands import Command
from tests.service.commands import nearnorm as nearnorm
from tests.service.counted import COUNTED
from tests.service.running import home_with

SCHEMA = """
[aggregates]
time = "at"
id = "payment"

[aggregates.features]
epoch = { key = "card", window = "1h", function = "count" }
amount = { key = "card", window = "1h", function = "sum", of = "paid" }
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.mark.parametrize(
    ("config", "schema", "told"),
    [
        ({}, SCHEMA, "the version that serves 'default' counts nothing over windows"),
        (COUNTED, SCHEMA.replace("1h", "2h"), "the version that serves 'default' declares other counts"),
        (COUNTED, SCHEMA, ""),
    ],
)
def test_counts_that_the_version_that_serves_does_not_read_are_told(
    nearnorm: Command, settings: Settings, tmp_path: Path, config: dict[str, Any], schema: str, told: str
) -> None:
    home_with(settings.home, make_bundle(tmp_path / "b", config=config))
    (tmp_path / "schema.toml").write_text(schema)
    (tmp_path / "history.csv").write_text("payment,at,card,paid\np1,2026-01-31T10:00:00Z,a,2.5\n")
    done = nearnorm(
        "aggregate",
        tmp_path / "history.csv",
        *("--schema", tmp_path / "schema.toml", "--out", tmp_path / "counted.csv", "--into", "default"),
    )
    assert (done.code, done.out.count("1 rows")) == (0, 1), done.err
    assert told in done.err
    assert bool(told) == bool(done.err)

"""The commands, on a ledger that is on SQLite and on a real PostgreSQL."""

from pathlib import Path

import pytest

from tests.service.commands import nearnorm as nearnorm


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "nearnorm.toml"

"""The commands in this process, beside the service of `settings`: a fixture for a conftest."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nearnorm.service.cli.main import main
from nearnorm.service.settings import Settings

Command = Callable[..., "Ended"]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def nearnorm(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`nearnorm ARGUMENTS` beside the service of `settings`."""
    monkeypatch.setenv("NEARNORM_HOME", str(settings.home))
    if settings.database_url:
        monkeypatch.setenv("NEARNORM_DATABASE_URL", settings.database_url)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["nearnorm", *map(str, arguments)])
        capsys.readouterr()  # what a service beside it logged
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Ended(int(end.value.code or 0), out, err)

    return run

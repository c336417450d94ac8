"""`nearnorm models create|list|activate --model`: a line begun, its versions, and whose a version is."""

import subprocess
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.ledger.tables import lines
from nearnorm.service.ledger.tables.lines import LineData
from tests.service.process.test_server import command, environment
from tests.service.running import home_with


@pytest.fixture
def home(tmp_path: Path, payments: Bundle, french: Bundle) -> Path:
    home = home_with(tmp_path / "home", payments)
    ModelStore(home / "models").publish(french.path)
    return home


def ran(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("models", *arguments), env=environment(home), capture_output=True, text=True, check=False
    )


def listed(home: Path, *arguments: str) -> list[str]:
    """Versions, and the models that they serve; what is known of each is below it."""
    return [line for line in ran(home, "list", *arguments).stdout.splitlines() if not line.startswith(" ")]


def test_a_line_is_created_given_a_version_and_lists_its_own(
    home: Path, payments: Bundle, french: Bundle
) -> None:
    unknown = ran(home, "list", "--model", "payments-fr")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "no model is named 'payments-fr': there is default" in unknown.stderr
    created = ran(home, "create", "--model", "payments-fr", "--training-data", "fr.parquet")
    assert created.stdout == "payments-fr training-data=fr.parquet\n", created.stderr
    again = ran(home, "create", "--model", "payments-fr", "--reference-data", "clean.parquet")
    assert again.stdout == "payments-fr training-data=fr.parquet reference-data=clean.parquet\n"
    assert ran(home, "list", "--model", "payments-fr").stdout == ""
    assert ran(home, "activate", french.version[:12], "--model", "payments-fr").returncode == 0
    assert listed(home, "--model", "payments-fr") == [f"{french.version} payments-fr"]
    assert listed(home) == [f"{payments.version} default", f"{french.version} payments-fr"]
    ledger = Ledger(sqlite_url(home / "nearnorm.db"))
    with ledger.read() as connection:
        line = lines.find(connection, "payments-fr")
    ledger.close()
    assert line is not None
    assert line.base == LineData("fr.parquet", "clean.parquet")


def test_a_version_of_another_line_is_not_activated_unless_one_is_named(home: Path, french: Bundle) -> None:
    assert ran(home, "activate", french.version, "--model", "payments-fr").returncode == 0
    refused = ran(home, "activate", french.version)
    assert refused.returncode == 2
    assert "is of 'payments-fr': name the one that it shall serve" in refused.stderr
    assert ran(home, "create", "--model", "a*").returncode == 2


@pytest.mark.parametrize("asked", [("limit", "--rows-per-second", "5"), ("priority", "2")])
def test_a_name_under_which_nothing_serves_is_told(home: Path, asked: tuple[str, ...]) -> None:
    mistyped = ran(home, *asked, "--model", "defualt")
    assert (mistyped.returncode, mistyped.stdout.split()[0]) == (0, "defualt")
    assert (
        "warning: no model is named 'defualt' yet, so it waits for one: there is default" in mistyped.stderr
    )
    assert ran(home, *asked, "--model", "default").stderr == ""


def test_a_limit_that_the_ledger_cannot_hold_is_named(home: Path) -> None:
    refused = ran(home, "limit", "--model", "default", "--rows-per-second", str(2**63))
    assert refused.returncode == 2
    assert "--rows-per-second" in refused.stderr
    assert "Traceback" not in refused.stderr

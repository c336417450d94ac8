"""Taking a backup: of one moment, of what this release knows, and when that was."""

import re
import time
from contextlib import closing
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError
from nearnorm.service.app import create_app
from nearnorm.service.backup import take as taking
from nearnorm.service.backup.contents import BEGUN
from nearnorm.service.backup.place import place_at
from nearnorm.service.ledger import copies
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import backups
from nearnorm.service.settings import Settings
from tests.models.store.s3_server import BUCKET
from tests.service.backup.machines import Elsewhere, taken
from tests.service.commands import Command
from tests.service.running import serving
from tests.service.waiting import until

pytestmark = pytest.mark.usefixtures("programs")


def test_an_activation_while_the_ledger_is_copied_has_it_copied_again(
    settings: Settings,
    newer: Bundle,
    nearnorm: Command,
    elsewhere: Elsewhere,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = settings.open_store()
    store.publish(newer.path)
    copied: list[Any] = []
    name = "copy_sqlite" if str(settings.database_url).startswith("sqlite") else "dump_postgresql"
    real = getattr(copies, name)

    def slow(*arguments: Any) -> None:
        real(*arguments)
        if not copied:
            store.activate(newer.version, by="ann")
        copied.append(arguments)

    monkeypatch.setattr(copies, name, slow)
    monkeypatch.setattr(taking, "PAUSE", 0.0)
    taken(nearnorm, place)
    assert len(copied) == 2
    new = elsewhere()
    assert nearnorm("restore", place).code == 0
    champion = new.open_store().champion()
    assert champion is not None
    assert champion.version == newer.version


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_ledger_of_a_newer_release_is_not_backed_up_in_part(
    settings: Settings, nearnorm: Command, place: str
) -> None:
    with closing(Ledger.at(settings.database_url, settings.home)) as ledger:
        migrate(ledger)
        with ledger.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    refused = nearnorm("backup", place)
    assert (refused.code, "back it up with that one" in refused.err) == (2, True)


def test_how_old_the_last_whole_backup_is_is_told(
    settings: Settings, nearnorm: Command, place: str, programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(client: httpx.Client) -> float:
        (found,) = re.findall(r"^nearnorm_backup_timestamp_seconds (\S+)", client.get("/metrics").text, re.M)
        return float(found)

    with (
        monkeypatch.context() as broken,
        closing(Ledger.at(settings.database_url, settings.home)) as ledger,
    ):
        broken.setattr(taking, "_bundles", lambda *_: 1 / 0)
        migrate(ledger)
        with pytest.raises(ZeroDivisionError):
            taking.take(settings, ledger, place_at(place), "test")
        with ledger.read() as connection:
            assert backups.last(connection) == 0
    begun = time.time()
    assert nearnorm("backup", place + "-again").code == 0
    with serving(create_app(settings)) as client:
        until(lambda: ended(client) > 0)
        assert begun - 0.001 <= ended(client) <= time.time()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_postgresql_ledger_without_pg_dump_is_told(
    settings: Settings, nearnorm: Command, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "pg_dump is not installed here" in nearnorm("backup", place).err


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_of_two_backups_that_begin_in_one_place_one_goes_on(
    kind: str, settings: Settings, place: str, request: pytest.FixtureRequest
) -> None:
    if kind == "s3":
        request.getfixturevalue("s3")
        place = f"s3://{BUCKET}/backups/at-once"
    with closing(Ledger.at(settings.database_url, settings.home)) as ledger:
        migrate(ledger)
        at = place_at(place)
        assert at.begin(BEGUN, b"{}")
        with pytest.raises(ConfigError, match=r"another backup was begun in .* meanwhile"):
            taking.take(settings, ledger, at, "test")

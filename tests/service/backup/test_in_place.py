"""`nearnorm restore` where something is already: moved aside when asked, by nobody beside it, to the end."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.app import create_app
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, score
from tests.service.backup.machines import Elsewhere, lived, service, taken, told
from tests.service.commands import Command

pytestmark = pytest.mark.usefixtures("programs")


def test_what_is_there_is_replaced_only_when_asked_and_moved_aside(
    settings: Settings, newer: Bundle, nearnorm: Command, place: str
) -> None:
    taken(nearnorm, place)
    with service(settings) as client:
        lived(client, settings, newer)
    refused = nearnorm("restore", place)
    assert refused.code == 2
    assert "hold something already: name an empty home" in refused.err
    assert newer.version in settings.open_store().versions()
    done = nearnorm("restore", place, "--replace")
    assert done.code == 0, done.err
    assert newer.version not in settings.open_store().versions()
    (aside,) = settings.home.glob("models.before-*")
    assert (aside / "versions" / newer.version).is_dir()
    with service(settings) as client:
        assert client.get("/feedback").json()["receipts"] == []
    if str(settings.database_url).startswith("sqlite"):
        (old,) = Path(str(sa.engine.make_url(str(settings.database_url)).database)).parent.glob(
            "nearnorm.db.before-*"
        )
        with closing(sqlite3.connect(old)) as connection:
            assert connection.execute("SELECT count(*) FROM labels").fetchone() == (2,)


def test_a_restore_that_did_not_end_keeps_services_from_starting_and_is_done_again(
    settings: Settings,
    newer: Bundle,
    nearnorm: Command,
    elsewhere: Elsewhere,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with service(settings) as client:
        before = lived(client, settings, newer)
        taken(nearnorm, place)
    new = elsewhere()
    from nearnorm.service.backup import restore as restoring

    def killed(*_: object) -> None:
        raise NearnormError("killed")

    for step in ("_put_ledger", "_put_store"):
        with monkeypatch.context() as broken:
            broken.setattr(restoring, step, killed)
            assert "killed" in nearnorm("restore", place).err
        for starts in (create_app, Worker):
            with pytest.raises(ConfigError, match="is half restored: run `nearnorm restore` again"):
                starts(new)
        assert "is half restored" in nearnorm("keys", "list").err
    assert "did not end: finish it first" in nearnorm("restore", shutil.copytree(place, f"{place}-2")).err
    assert nearnorm("restore", place).code == 0
    with service(new) as client:
        assert told(client, before["ids"]) == before


def test_nobody_works_while_a_home_is_restored(settings: Settings, nearnorm: Command, place: str) -> None:
    import fcntl

    taken(nearnorm, place)
    with (settings.home / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a worker works in" in nearnorm("restore", place, "--replace").err
    if str(settings.database_url).startswith("sqlite"):
        with service(settings) as client:
            score(client, RECORD)
            refused = nearnorm("restore", place, "--replace")
            assert "is in use: stop the service first" in refused.err
            assert score(client, RECORD)["score"] >= 0
            assert nearnorm("keys", "list").code == 0, "nothing was begun"
        assert nearnorm("restore", place, "--replace").code == 0

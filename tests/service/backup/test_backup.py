"""`nearnorm backup` and `nearnorm restore`: on both databases, from folder and S3, whole or not at all."""

import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.app import create_app
from nearnorm.service.backup import take as taking
from nearnorm.service.backup.place import BackupFolder, place_at
from nearnorm.service.ledger import copies
from nearnorm.service.ledger.database import RESTORING, Ledger, sqlite_url
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import backups
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.models.store.s3_server import BUCKET
from tests.service.asking import RECORD, STRANGE, label, score, stored
from tests.service.bundles import make_bundle
from tests.service.commands import Command, Ended
from tests.service.running import serving
from tests.service.waiting import logged, until

pytestmark = pytest.mark.usefixtures("programs")

Elsewhere = Callable[..., Settings]


@pytest.fixture
def elsewhere(
    request: pytest.FixtureRequest, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Elsewhere:
    """Another machine: an empty home, an empty database, and the commands there from now on."""

    def move(**changes: Any) -> Settings:
        home = tmp_path / f"new-{uuid.uuid4().hex[:6]}" / "home"
        url = sqlite_url(home / "nearnorm.db").render_as_string()
        if not str(settings.database_url).startswith("sqlite"):
            server: str = request.getfixturevalue("postgres")
            name = f"t{uuid.uuid4().hex}"
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"'.encode())
            url = server.replace("/postgres?", f"/{name}?")
        found = settings.model_copy(update={"home": home, "database_url": url, **changes})
        monkeypatch.setenv("NEARNORM_HOME", str(found.home))
        monkeypatch.setenv("NEARNORM_DATABASE_URL", str(found.database_url))
        if found.model_store:
            monkeypatch.setenv("NEARNORM_MODEL_STORE", found.model_store)
        return found

    return move


@contextmanager
def service(settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        yield client


def lived(client: httpx.Client, settings: Settings, newer: Bundle) -> dict[str, Any]:
    """A service with a past: what it tells of it."""
    version = settings.open_store().publish(newer.path)
    client.post(f"/models/{version}/activate", json={"reason": "it finds more"}).raise_for_status()
    client.put("/policy", json={"budget": "3%"}).raise_for_status()
    event = score(client, STRANGE, "tx-1")["event_id"]
    ids = stored(label(client, {"event_id": event, "label": "anomaly", "analyst": "ann"}, key="k"))
    ids += stored(label(client, {"record": RECORD, "label": "normal", "analyst": "ben"}))
    score(client, STRANGE | {"amount": 901.0}, "tx-2")  # waits in the queue
    until(lambda: logged(client))
    return told(client, ids)


def told(client: httpx.Client, ids: list[str]) -> dict[str, Any]:
    return {
        "ids": ids,
        "receipts": [client.get(f"/feedback/{one}").json() for one in ids],
        "queue": sorted(item["id"] or "" for item in client.get("/queue").json()["queue"]),
        "models": client.get("/models").json()["models"],
        "policy": client.get("/policy").json()["policy"]["budget"],
        "verdict": score(client, STRANGE)["matched_feedback"],
    }


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("newer") / "payments", seed=1)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "backup")


def taken(nearnorm: Command, place: str) -> Ended:
    done = nearnorm("backup", place)
    assert done.code == 0, done.err
    return done


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_service_goes_on_elsewhere_as_it_was(
    kind: str,
    settings: Settings,
    newer: Bundle,
    nearnorm: Command,
    elsewhere: Elsewhere,
    payments: Bundle,
    request: pytest.FixtureRequest,
    place: str,
) -> None:
    if kind == "s3":
        request.getfixturevalue("s3")
        place = f"s3://{BUCKET}/backups/monday"
    with service(settings) as client:
        before = lived(client, settings, newer)
        taken(nearnorm, place)
        stored(label(client, {"record": RECORD | {"amount": 1.0}, "label": "normal"}))  # is lost
    new = elsewhere(model_store=f"s3://{BUCKET}/new" if kind == "s3" else None)
    done = nearnorm("restore", place)
    assert done.code == 0, done.err
    assert f"default is {newer.version}" in done.out
    with service(new) as client:
        assert told(client, before["ids"]) == before
        again = label(
            client,
            {"event_id": before["receipts"][0]["event_id"], "label": "anomaly", "analyst": "ann"},
            key="k",
        )
        assert stored(again) == before["ids"][:1], "a label that is sent again is the same"
        assert len(client.get("/feedback").json()["receipts"]) == 2
        actions = [entry["action"] for entry in client.get("/audit").json()["audit"]]
        assert actions[:2] == ["restore", "backup"]
        assert client.post("/models/rollback").json()["version"] == payments.version
        stored(label(client, {"record": RECORD | {"amount": 2.0}, "label": "normal"}))
        client.post("/jobs").raise_for_status()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_versions_that_were_deleted_stay_so_and_signatures_and_reports_come_along(
    settings: Settings, newer: Bundle, nearnorm: Command, elsewhere: Elsewhere, place: str
) -> None:
    store = settings.open_store()
    store.publish(newer.path)
    assert nearnorm("models", "delete", newer.version, "--yes").code == 0
    (store.root / "versions" / store.versions()[0] / "report.html").write_text("<html>")
    taken(nearnorm, place)
    new = elsewhere()
    assert nearnorm("restore", place).code == 0
    assert "was deleted on" in nearnorm("models", "activate", newer.version).err
    (version,) = new.open_store().versions()
    assert (new.open_store().open(version).path / "report.html").read_text() == "<html>"


def test_a_backup_that_did_not_end_is_refused_by_name(
    settings: Settings, nearnorm: Command, elsewhere: Elsewhere, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NearnormError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(taking, "_bundles", full)
        assert "the disk is full" in nearnorm("backup", place).err
    again = nearnorm("backup", place)
    assert (again.code, "holds an unfinished backup, begun on 20" in again.err) == (2, True)
    new = elsewhere()
    refused = nearnorm("restore", place)
    assert (refused.code, "holds an unfinished backup, begun on 20" in refused.err) == (2, True)
    assert "nothing was restored" in refused.err
    assert not (new.home / "models").exists()
    assert not (new.home / RESTORING).exists()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_place_that_holds_something_is_refused_by_what_it_holds(
    settings: Settings, nearnorm: Command, elsewhere: Elsewhere, place: str, tmp_path: Path
) -> None:
    taken(nearnorm, place)
    assert "holds a backup already" in nearnorm("backup", place).err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    assert "holds other files" in nearnorm("backup", tmp_path / "other").err
    assert "holds no backup" in nearnorm("restore", tmp_path / "other").err
    assert "holds no backup" in nearnorm("restore", tmp_path / "nowhere").err
    (tmp_path / "file").write_text("")
    assert nearnorm("backup", tmp_path / "file").code == 2


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how", ["changed", "lost", "escapes", "newer", "format", "no JSON"])
def test_a_backup_that_is_not_as_it_was_written_restores_nothing(
    settings: Settings, nearnorm: Command, elsewhere: Elsewhere, place: str, how: str
) -> None:
    taken(nearnorm, place)
    listed = Path(place) / "backup.json"
    contents = msgspec.json.decode(listed.read_bytes())
    model = next(Path(place).glob("versions/*/model.onnx"))
    if how == "changed":
        model.write_bytes(model.read_bytes() + b" ")
    elif how == "lost":
        model.unlink()
    elif how == "escapes":
        contents["files"][0]["name"] = "../../evil"
    elif how == "newer":
        contents["revision"] = "9999"
    elif how == "format":
        contents["format"] = 2
    listed.write_bytes(b"{" if how == "no JSON" else msgspec.json.encode(contents))
    new = elsewhere()
    refused = nearnorm("restore", place)
    assert refused.code == 2
    why = {
        "changed": "model.onnx is not as it was written",
        "lost": "lacks versions/",
        "escapes": "which is no file of a backup",
        "newer": "upgrade nearnorm",
        "format": "has backup format 2",
        "no JSON": "backup.json is damaged",
    }
    assert why[how] in refused.err
    assert [path.name for path in new.home.iterdir()] == ["worker.lock"]


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


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_damaged_version_is_left_out_and_told_and_the_rest_is_whole(
    settings: Settings, newer: Bundle, nearnorm: Command, elsewhere: Elsewhere, place: str, payments: Bundle
) -> None:
    store = settings.open_store()
    store.publish(newer.path)
    (store.root / "versions" / newer.version / "model.onnx").write_bytes(b"rotten")
    done = nearnorm("backup", place)
    assert done.code == 2
    assert f"whole but for 1 versions that the store has damaged ({newer.version})" in done.err
    new = elsewhere()
    assert nearnorm("restore", place).code == 0
    assert new.open_store().versions() == [payments.version]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_lies_elsewhere_is_named(
    settings: Settings, nearnorm: Command, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.home / "base.parquet").write_bytes(b"")
    assert nearnorm("models", "create", "--model", "cards", "--training-data", "s3://x/cards/").code == 0
    monkeypatch.setenv("NEARNORM_SIGNING_KEY", "/keys/signing.pem")
    told_ = taken(nearnorm, place).err
    assert f"not in the backup: {settings.home / 'base.parquet'}\n" in told_
    assert "not in the backup: s3://x/cards/ (training data of 'cards')\n" in told_
    assert "not in the backup: /keys/signing.pem (NEARNORM_SIGNING_KEY)\n" in told_
    assert "not in the backup: made up (data of 'default', for its retrainings)\n" in told_


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_files_of_a_backup_are_their_owners_alone(settings: Settings, nearnorm: Command, place: str) -> None:
    taken(nearnorm, place)
    assert Path(place).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Path(place).rglob("*") if path.is_file()} == {0o600}
    assert not list(Path(place).rglob("*.part"))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_postgresql_ledger_without_pg_dump_is_told(
    settings: Settings, nearnorm: Command, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "pg_dump is not installed here" in nearnorm("backup", place).err


def test_a_backup_of_one_kind_of_ledger_is_not_restored_into_another(
    settings: Settings,
    nearnorm: Command,
    elsewhere: Elsewhere,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken(nearnorm, place)
    elsewhere()
    sqlite = str(settings.database_url).startswith("sqlite")
    other = "postgresql://nobody@127.0.0.1:9/x" if sqlite else f"sqlite:///{tmp_path}/x.db"
    monkeypatch.setenv("NEARNORM_DATABASE_URL", other)
    assert "the backup's ledger is of" in nearnorm("restore", place).err


def test_a_damaged_ledger_is_not_backed_up(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 900,)] * 99)
        connection.commit()
    content = bytearray((tmp_path / "x.db").read_bytes())
    content[8192:12288] = b"\xff" * 4096
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(NearnormError, match=r"x.db (is damaged|cannot be copied)"):
        copies.copy_sqlite(tmp_path / "x.db", tmp_path / "copy")


def test_a_file_is_in_a_backup_whole_or_not_at_all(tmp_path: Path) -> None:
    place = BackupFolder(tmp_path / "backup")

    def half() -> None:
        with place.making("ledger") as path:
            path.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert not place.fetch("ledger", tmp_path / "out")

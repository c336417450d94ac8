"""A backup is whole, and as it was written, or restores nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import NearnormError
from nearnorm.service.backup import take as taking
from nearnorm.service.backup.place import BackupFolder
from nearnorm.service.ledger import copies
from nearnorm.service.ledger.database import RESTORING
from nearnorm.service.settings import Settings
from tests.service.backup.machines import Elsewhere, taken
from tests.service.commands import Command

pytestmark = pytest.mark.usefixtures("programs")


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
def test_one_that_was_killed_as_it_began_is_unfinished_and_not_damaged(
    settings: Settings, nearnorm: Command, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    place = tmp_path / "killed"
    place.mkdir()
    (place / "begun.json").touch()
    told = "holds an unfinished backup, which ended as it began"
    assert told in nearnorm("backup", str(place)).err
    elsewhere()
    assert told in nearnorm("restore", str(place)).err


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
def test_files_of_a_backup_are_their_owners_alone(settings: Settings, nearnorm: Command, place: str) -> None:
    taken(nearnorm, place)
    assert Path(place).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Path(place).rglob("*") if path.is_file()} == {0o600}
    assert not list(Path(place).rglob("*.part"))


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

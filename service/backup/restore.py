"""Bringing ledger and store back: all is fetched and verified first, and a note in the home stands until the
last step is done, so that nothing starts on a half."""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from nearnorm.models.bundle.bundle import fsync_folder, write_durably
from nearnorm.models.errors import ConfigError
from nearnorm.models.store.deletions import Deletion
from nearnorm.models.store.folder import Activation, ModelStore
from nearnorm.service.backup import contents
from nearnorm.service.backup.contents import ACTIVATIONS, DELETIONS, LEDGER, BackedUp, Contents
from nearnorm.service.backup.place import BackupPlace
from nearnorm.service.ledger import copies
from nearnorm.service.ledger.database import RESTORING, Ledger, ledger_url
from nearnorm.service.ledger.migrate import drop_tables, known_revisions, migrate, own_tables
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.settings import Settings

_NAME = re.compile(
    rf"{LEDGER}|{ACTIVATIONS}|{DELETIONS}|versions/[0-9a-f]{{64}}/[A-Za-z0-9_][A-Za-z0-9_.-]{{0,99}}"
)


class _Restoring(Struct, frozen=True):
    """What stands in the home until the restore has ended. `aside` names what was there before."""

    place: str
    aside: str | None


def restore(settings: Settings, place: BackupPlace, replace: bool, by: str) -> Contents:
    """`replace`: what is there is moved aside (tables on PostgreSQL are dropped). Raises NearnormError,
    LedgerUnavailable: the home says so until it is done again."""
    home, note = settings.home, settings.home / RESTORING
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home), tempfile.TemporaryDirectory(prefix=".restore-", dir=home) as name:
        folder = Path(name)
        found = contents.read_contents(place, folder)
        _refuse_unfit(found, settings)
        begun = _begun(note, place)
        store = settings.open_store()
        if begun is None and not replace:
            _refuse_taken(settings, store)
        for file in found.files:
            _fetch(place, file, folder)
        if begun is None:
            if (ledger_file := _sqlite_file(settings)) is not None:
                copies.settle(ledger_file)  # while it is in use nothing is begun
            begun = _Restoring(place.name, f"before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}" if replace else None)
            write_durably(note, msgspec.json.encode(begun))
            fsync_folder(home)
        if begun.aside is not None:
            _make_room(settings, store, begun.aside)
        _put_store(store, found, folder)
        _put_ledger(settings, folder / LEDGER)
        note.unlink()
        fsync_folder(home)
    ledger = Ledger.at(settings.database_url, home)
    try:
        migrate(ledger)
        with ledger.write() as connection:
            audit.note(connection, by, "restore", place.name, begun=found.begun, release=found.release)
    finally:
        ledger.close()
    return found


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """No worker works in this home, nor begins to. Raises ConfigError."""
    with (home / "worker.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"a worker works in {home}: stop the service first") from None
        yield


def _refuse_unfit(found: Contents, settings: Settings) -> None:
    backend = ledger_url(settings.database_url, settings.home).get_backend_name()
    if found.ledger != backend:
        raise ConfigError(
            f"the backup's ledger is of {found.ledger}, and NEARNORM_DATABASE_URL names {backend}: name one "
            f"of {found.ledger}"
        )
    if found.revision not in known_revisions():
        raise ConfigError(
            f"the backup is of release {found.release}, which is newer than this one: upgrade nearnorm"
        )


def _begun(note: Path, place: BackupPlace) -> _Restoring | None:
    """A restore of this backup that did not end. Raises ConfigError for one of another."""
    try:
        begun = msgspec.json.decode(note.read_bytes(), type=_Restoring)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return None  # it died over this very note
    if begun.place != place.name:
        raise ConfigError(f"{note} says that a restore of {begun.place} did not end: finish it first")
    return begun


def _refuse_taken(settings: Settings, store: ModelStore) -> None:
    url = ledger_url(settings.database_url, settings.home)
    if url.get_backend_name() == "sqlite":
        file = Path(str(url.database))
        taken = file.exists() and file.stat().st_size > 0
    else:
        taken = bool(_tables(url.render_as_string(False)))
    there = [f"the ledger {url.render_as_string()}"] if taken else []
    if store.activations() or store.versions():
        there.append(f"the model store {store.name}")
    if there:
        raise ConfigError(
            f"{' and '.join(there)} hold something already: name an empty home by NEARNORM_HOME, or put the "
            "backup in its place by --replace"
        )


def _tables(url: str) -> list[str]:
    ledger = Ledger(url)
    try:
        with ledger.read() as connection:
            return own_tables(connection)
    finally:
        ledger.close()


def _fetch(place: BackupPlace, file: BackedUp, folder: Path) -> None:
    """Raises ConfigError for a file that is missing or not as it was written."""
    if not _NAME.fullmatch(file.name):
        raise ConfigError(f"{place.name} names {file.name[:100]!r}, which is no file of a backup")
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not place.fetch(file.name, target):
        raise ConfigError(f"{place.name} lacks {file.name}: the backup was damaged, use another")
    with target.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
            raise ConfigError(f"{place.name}/{file.name} is not as it was written: use another backup")


def _make_room(settings: Settings, store: ModelStore, aside: str) -> None:
    """Once, however often it is tried; tables on PostgreSQL go when others come."""
    if (file := _sqlite_file(settings)) is not None:
        away = file.with_name(f"{file.name}.{aside}")
        if not away.exists():
            copies.settle(file)
            for end in ("-wal", "-shm", ""):  # of a damaged one that could not be settled
                if (part := file.with_name(file.name + end)).exists():
                    os.rename(part, away.with_name(away.name + end))
    store.make_room(aside)


def _sqlite_file(settings: Settings) -> Path | None:
    """The ledger's, where it is one and is there."""
    url = ledger_url(settings.database_url, settings.home)
    file = Path(str(url.database))
    return file if url.get_backend_name() == "sqlite" and file.exists() else None


def _put_store(store: ModelStore, found: Contents, folder: Path) -> None:
    for version in found.versions:
        store.publish(folder / "versions" / version)
    for line in (folder / DELETIONS).read_text().splitlines():
        gone = Deletion.model_validate_json(line)
        if gone.version not in found.versions:
            store.deletions.note(gone)
    store.put_log(
        [Activation.model_validate_json(line) for line in (folder / ACTIVATIONS).read_text().splitlines()]
    )


def _put_ledger(settings: Settings, source: Path) -> None:
    url = ledger_url(settings.database_url, settings.home)
    if url.get_backend_name() == "postgresql":
        ledger = Ledger(url)
        try:
            with ledger.write() as connection:
                drop_tables(connection)
        finally:
            ledger.close()
        copies.load_postgresql(url, source)
        return
    target = Path(str(url.database))
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.restored")
    shutil.move(source, beside)  # from one file system to another it is a copy
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, target)
    fsync_folder(target.parent)

"""Taking a backup beside a running service.

The ledger goes first, then the store's log, then bundles: whatever the ledger or the log names was published
before it was written there. An activation while the ledger is copied would set it and the log apart: then it
is copied once more. The list of contents goes last; without it there is no backup.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import MOST_FILE_BYTES, read_bundle
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.errors import BundleError, ConfigError, NearnormError
from nearnorm.models.store.folder import Activation, ModelStore, plain_files
from nearnorm.service.backup import contents
from nearnorm.service.backup.contents import (
    ACTIVATIONS,
    BEGUN,
    CONTENTS,
    DELETIONS,
    FORMAT,
    LEDGER,
    BackedUp,
    Begun,
    Contents,
)
from nearnorm.service.backup.place import BackupPlace
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger import copies
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import known_revisions, own_tables, revision
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import backups, lines
from nearnorm.service.ledger.tables.jobs import jobs
from nearnorm.service.settings import Settings

T = TypeVar("T")

TRIES = 10
PAUSE = 1.0  # seconds between them
BY_JOB = "job:"  # how an activation by the loop is signed
BACKED_UP = ("nearnorm.db", "models")
MADE_AGAIN = ("nearnorm.db-wal", "nearnorm.db-shm", "copies", "jobs", "worker.lock")
"""Of a home: the log is in the ledger's copy, copies are fetched again, a job that runs begins anew."""


def take(settings: Settings, ledger: Ledger, place: BackupPlace, by: str) -> Contents:
    """Into a place where nothing is. Raises NearnormError, LedgerUnavailable: what is there by then is no
    backup, and says so."""
    store = settings.open_store()
    begun = _now()
    if not place.begin(BEGUN, msgspec.json.encode(Begun(begun, socket.gethostname()))):
        raise ConfigError(f"another backup was begun in {place.name} meanwhile: name another place")

    def note() -> str | None:
        with ledger.write() as connection:
            audit.note(connection, by, "backup", place.name)
            return revision(connection)

    at = patiently(note)
    if at not in known_revisions():
        raise NearnormError(
            "the ledger is of a newer release: back it up with that one, which knows all of it"
        )
    copy, log = _ledger_and_log(ledger, store, place)
    lines = [entry.model_dump_json(exclude_none=True) for entry in log]
    gone = [store.deletions.find(version) for version in store.deletions.versions()]
    files = [
        copy,
        contents.write(place, ACTIVATIONS, _lines(lines)),
        contents.write(
            place, DELETIONS, _lines([one.model_dump_json(exclude_none=True) for one in gone if one])
        ),
    ]
    versions: list[str] = []
    damaged: dict[str, str] = {}
    for version, found in _bundles(store, place):
        if isinstance(found, BundleError):
            damaged[version] = str(found)
        else:
            versions.append(version)
            files += found
    champions = {entry.model: entry.version for entry in log}
    for model, version in champions.items():
        if version not in versions and version not in damaged:
            raise NearnormError(
                f"champion {version} of {model!r} was replaced and deleted meanwhile: run it again"
            )
    whole = Contents(
        FORMAT,
        installed("nearnorm"),
        begun,
        _now(),
        "sqlite" if ledger.is_sqlite else "postgresql",
        str(at),
        versions,
        champions,
        files,
        damaged,
        list(_elsewhere(settings, ledger, store, champions)),
    )
    contents.write(place, CONTENTS, msgspec.json.format(msgspec.json.encode(whole), indent=1))

    def ended() -> None:
        with ledger.write() as connection:
            backups.put(connection, place.name, now_ms())

    with suppress(LedgerUnavailable):  # it is whole all the same: its age is told too high
        patiently(ended)
    return whole


def patiently(run: Callable[[], T]) -> T:
    """A ledger that is written all the time may refuse a newcomer: it is asked again. Raises as `run`."""
    for _ in range(TRIES):
        with suppress(LedgerUnavailable):
            return run()
        time.sleep(PAUSE)
    return run()


def _ledger_and_log(
    ledger: Ledger, store: ModelStore, place: BackupPlace
) -> tuple[BackedUp, list[Activation]]:
    for attempt in range(TRIES):
        log = store.activations()
        if attempt < TRIES / 2 and _ends_soon(ledger, log):
            time.sleep(PAUSE)
            continue
        with place.making(LEDGER) as path:
            if ledger.is_sqlite:
                copies.copy_sqlite(Path(str(ledger.url.database)), path)
            else:
                with ledger.read() as connection:
                    tables = own_tables(connection)
                copies.dump_postgresql(ledger.url, tables, path)
            copy = contents.backed_up(LEDGER, path)
        if [entry.number for entry in store.activations()] == [entry.number for entry in log]:
            return copy, log
    raise NearnormError("models were activated all the while: run the backup again")


def _ends_soon(ledger: Ledger, log: Sequence[Activation]) -> bool:
    """Whether a job has activated its version and the ledger does not have that yet; a worker that died over
    it leaves it so."""
    activated = {entry.by.removeprefix(BY_JOB) for entry in log if entry.by.startswith(BY_JOB)}
    with ledger.read() as connection:
        running = connection.execute(sa.select(jobs.c.job_id).where(jobs.c.state == "running")).scalars()
        return not activated.isdisjoint(running)


def _bundles(store: ModelStore, place: BackupPlace) -> Iterator[tuple[str, list[BackedUp] | BundleError]]:
    """Every version's files, once they are in the backup; of a damaged one what is wrong with it."""
    for version in store.versions():
        try:
            with store.fetched(version) as folder:
                if folder is None:
                    continue  # deleted meanwhile
                if read_bundle(folder).version != version:
                    raise BundleError(f"{folder} holds another version")
                read = {file.name: read_plain_file(file, MOST_FILE_BYTES) for file in plain_files(folder)}
        except (BundleError, OSError) as error:
            if store.has(version):
                yield version, error if isinstance(error, BundleError) else BundleError(str(error))
            continue
        yield version, [contents.write(place, f"versions/{version}/{name}", read[name]) for name in read]


def _elsewhere(
    settings: Settings, ledger: Ledger, store: ModelStore, champions: dict[str, str]
) -> Iterator[str]:
    """What a service, or its retrainings, may need and no backup holds."""
    names = sorted(os.listdir(settings.home)) if settings.home.is_dir() else []
    yield from (f"{settings.home / name}" for name in names if name not in (*BACKED_UP, *MADE_AGAIN))
    for setting in ("training_data", "reference_data", "training_config", "signing_key", "trusted_keys"):
        if (value := getattr(settings, setting)) is not None:
            yield f"{value} (NEARNORM_{setting.upper()})"
    with ledger.read() as connection:
        for line in lines.every(connection):
            for name, value in line.base.given().items():
                yield f"{value} ({name.replace('_', ' ')} of {line.model!r})"
    for model, version in sorted(champions.items()):
        try:
            manifest = store.open(version).manifest
        except NearnormError:
            continue  # it is damaged, and told
        for source in (manifest.source, manifest.reference_source, manifest.validation_source):
            if source is not None:
                yield f"{source} (data of {model!r}, for its retrainings)"


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

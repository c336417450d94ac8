"""The file of a SQLite ledger: opened, never made in passing, and watched.

A process goes on writing to a file that was deleted or replaced, and to a write-ahead log that was: nobody
would find what it acknowledges. So every connection knows its file, is closed once that is another, and
what was committed counts only if the files are still there.
"""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import ConnectionPoolEntry

from nearnorm.models.errors import ConfigError

CHECKED = 64 * 2**20
"""Bytes up to which a file is looked through at the start. Damage in a larger one shows where it is read."""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Random places of an index are rewritten with every group of events: in a log of 16 MB many of them meet.
_CHECKPOINT = "wal_autocheckpoint=4000"
# Each connection has a cache of its own. The system keeps the file in memory once, for all of them.
_CACHE = "cache_size=-512"  # KiB
_STATEMENTS = 32  # that a connection keeps prepared


class _Identity(NamedTuple):
    """Which file a path leads to. As long as it is open nowhere else, its number is not given anew."""

    device: int
    inode: int


class _Content(NamedTuple):
    """When a file was written, and its size: only a checkpoint, or somebody else, changes them."""

    written_ns: int
    size: int


class SqliteFile:
    """One ledger's file. Its connections are closed once the path leads to another, or to none."""

    def __init__(self, path: Path, patience: float) -> None:
        """Makes an empty file where there is none. Whether it can be used shows when it is."""
        self.path = path.absolute()
        self._patience = patience
        self._damaged: tuple[_Identity | None, str] | None = None
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():  # closing a file that is in use here would drop SQLite's locks
                self.path.touch()

    @property
    def damage(self) -> str | None:
        """What SQLite said of the file that is there now, if it found it damaged: "is damaged (...)"."""
        if self._damaged is None or self._damaged[0] != _identity(self.path):
            return None
        return self._damaged[1]

    def connect(self) -> sqlite3.Connection:
        """Raises sqlite3.Error."""
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw",
            uri=True,
            timeout=self._patience,
            cached_statements=_STATEMENTS,
            check_same_thread=False,
            isolation_level=None,  # the driver shall not begin transactions
        )
        try:
            for pragma in ("foreign_keys=ON", "synchronous=FULL", "secure_delete=ON", _CACHE, _CHECKPOINT):
                connection.execute(f"PRAGMA {pragma}")
            _use_write_ahead_log(connection, self._patience)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def watch(self, engine: sa.Engine) -> None:
        @sa.event.listens_for(engine, "connect")
        def connected(_: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
            entry.info["file"] = _identity(self.path)

        @sa.event.listens_for(engine, "checkout")
        def check_out(connection: sqlite3.Connection, entry: ConnectionPoolEntry, _: object) -> None:
            identity, content = _look(self.path)
            if entry.info.get("file") != identity:
                raise exc.DisconnectionError("the file is another")
            if entry.info.get("content") != content:  # what it has in memory may be in the file no more
                connection.execute("PRAGMA shrink_memory")
                entry.info["content"] = content

    def is_there(self, connection: sa.Connection) -> bool:
        """Whether what was just committed is in files that others can find."""
        info = connection.info
        log = _identity(self.path.with_name(f"{self.path.name}-wal"))
        return log is not None and info.setdefault("log", log) == log and info["file"] == _identity(self.path)

    def note(self, error: exc.DBAPIError) -> None:
        """Remember damage: it does not go away by itself."""
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
            self._damaged = _identity(self.path), _damaged(str(error.orig))

    def check(self, connection: sa.Connection) -> None:
        """Raises ConfigError for a damaged file, if it is small enough to look it through."""
        if self.path.stat().st_size > CHECKED:
            return
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise ConfigError(f"{self.path} {_damaged(str(found))}")


def _damaged(found: str) -> str:
    return (
        f"is damaged ({' '.join(found.split())}): put a backup in its place, or move it away to begin with "
        "an empty ledger"
    )


def _look(path: Path) -> tuple[_Identity, _Content] | tuple[None, None]:
    try:
        found = os.stat(path)
    except OSError:
        return None, None
    return _Identity(found.st_dev, found.st_ino), _Content(found.st_mtime_ns, found.st_size)


def _identity(path: Path) -> _Identity | None:
    return _look(path)[0]


def _use_write_ahead_log(connection: sqlite3.Connection, patience: float) -> None:
    """Turning the log on needs the file for oneself, and SQLite does not wait for that by itself."""
    give_up = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.05)

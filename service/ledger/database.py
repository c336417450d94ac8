"""The database under the ledger: how it is opened, how a transaction begins, how trouble is told."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import ConnectionPoolEntry

from nearnorm.models.errors import ConfigError
from nearnorm.service.errors import InvalidRequest, LedgerUnavailable
from nearnorm.service.ledger.faults import first_line, is_outage, kind
from nearnorm.service.ledger.sqlite_file import SqliteFile

if TYPE_CHECKING:  # a start loads the dialect that it uses
    from sqlalchemy.dialects import postgresql, sqlite

metadata = sa.MetaData()
Milliseconds = sa.BigInteger
Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up only an INTEGER key

PATIENCE = 5.0  # seconds a statement may wait for a lock or an answer
LONGEST = 10.0  # seconds a request waits for the ledger altogether
RETRY_AFTER = {"Retry-After": "5"}
RESTORING = "restore-unfinished.json"
"""Stands in a home until a restore has ended."""
WAITING = 64  # requests that may wait for the ledger at once
THREADS = 4


T = TypeVar("T")

_POSTGRESQL_WHERE = "postgresql_where"


class Ledger:
    """One database, shared by the threads of a process. Raises LedgerUnavailable for every trouble."""

    def __init__(self, url: str | sa.URL) -> None:
        """Raises ConfigError for a URL that cannot be used; nothing is opened yet."""
        self.url = _checked(url)
        self._file: SqliteFile | None = None
        if self.is_sqlite:
            self._file = SqliteFile(Path(str(self.url.database)), PATIENCE)
        self._engine = _sqlite(self._file) if self._file else _postgres(self.url)
        sa.event.listen(self._engine, "before_cursor_execute", _end_if_nobody_waits)
        sa.event.listen(self._engine, "checkin", self._end_if_closed)
        self._closed = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger")
        self._waiting = 0

    @classmethod
    def at(cls, database_url: str | None, home: Path) -> Self:
        """The ledger of a service: by its URL, or the file in its home.

        Raises ConfigError too where a restore into the home did not end.
        """
        if (home / RESTORING).exists():
            raise ConfigError(
                f"{home} is half restored: run `nearnorm restore` again, with the backup that {RESTORING} "
                "names"
            )
        return cls(ledger_url(database_url, home))

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is on disk when the block is left without an exception."""
        if damage := self.damage:
            raise damage
        with self._as_problems(), self._engine.connect() as connection:
            with connection.begin():
                yield connection
                _end_if_nobody_waits()
            if self._file and not self._file.is_there(connection):
                connection.invalidate()
                self._engine.dispose()  # the last to be closed writes what the log holds into the file
                gone = "or its log was deleted or replaced"
                raise _unavailable(f"its file {gone}", f"{self._file.path} {gone}")

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one moment and waits for no writer."""
        with (
            self._as_problems(),
            self._engine.connect().execution_options(reading=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def attempt(self) -> Iterator[sa.Connection]:
        """A transaction of which nothing stays: what would come of writing is read in it."""
        with self._as_problems(), self._engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    async def written(self, work: Callable[[sa.Connection], T]) -> T:
        """`work` in a write transaction, in a thread: scoring goes on meanwhile."""
        return await self.threaded(_within(self.write, work))

    async def seen(self, work: Callable[[sa.Connection], T]) -> T:
        """`work` in a read transaction, in a thread."""
        return await self.threaded(_within(self.read, work))

    async def tried(self, work: Callable[[sa.Connection], T]) -> T:
        """`work` in a transaction that is undone, in a thread."""
        return await self.threaded(_within(self.attempt, work))

    async def threaded(self, run: Callable[[], T]) -> T:
        """`run` in one of the ledger's threads. Raises LedgerUnavailable where it takes too long."""
        if self._waiting >= WAITING:
            raise _unavailable(f"{WAITING} requests wait for it already")
        self._waiting += 1
        gone = threading.Event()
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, _until(gone, run))
            return await asyncio.wait_for(running, LONGEST)
        except TimeoutError:
            raise _unavailable(f"no answer in {LONGEST:.0f} seconds") from None
        finally:
            gone.set()
            self._waiting -= 1

    def scrub(self) -> None:
        """Overwrite what SQLite deleted but still holds in its log. PostgreSQL's vacuum sees to its own."""
        if self.is_sqlite:
            with self._as_problems(), self._engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def damage(self) -> LedgerUnavailable | None:
        """What is wrong with the database's file for good; None: nothing that is known."""
        if self._file is None or (found := self._file.damage) is None:
            return None
        return _unavailable(f"its file {found}", f"{self._file.path} {found}")

    def check(self, connection: sa.Connection) -> None:
        """Raises ConfigError for a file that is damaged."""
        if self._file:
            self._file.check(connection)

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    def _end_if_closed(self, _: object, record: ConnectionPoolEntry) -> None:
        """A connection that a thread had when the ledger was closed is given back to nobody."""
        if self._closed:
            record.invalidate()

    @contextlib.contextmanager
    def _as_problems(self) -> Iterator[None]:
        try:
            yield
        except OverflowError:
            raise _unstorable() from None
        except exc.TimeoutError as error:
            raise _unavailable(first_line(error)) from error
        except exc.DBAPIError as error:
            if self._file:
                self._file.note(error)
            if is_outage(error):
                raise (self.damage or _unavailable(kind(error), first_line(error))) from error
            if isinstance(error, exc.DataError | exc.OperationalError):  # only what was asked for may be so
                raise _unstorable() from None
            raise


def _within(
    transaction: Callable[[], contextlib.AbstractContextManager[sa.Connection]],
    work: Callable[[sa.Connection], T],
) -> Callable[[], T]:
    def run() -> T:
        with transaction() as connection:
            return work(connection)

    return run


_asking = threading.local()
"""`gone` is set once nobody waits any more for what this thread does."""


def _until(gone: threading.Event, run: Callable[[], T]) -> Callable[[], T]:
    """`run`, whose transaction ends by its next statement after `gone`: it would only hold the lock."""

    def running() -> T:
        _asking.gone = gone
        try:
            return run()
        finally:
            _asking.gone = None

    return running


def _end_if_nobody_waits(*_: object) -> None:
    gone: threading.Event | None = getattr(_asking, "gone", None)
    if gone is not None and gone.is_set():
        raise _unavailable("whoever asked is gone")


def _unstorable() -> InvalidRequest:
    return InvalidRequest("a value cannot be stored: send no NUL, integers of 64 bits, and shorter texts")


def _unavailable(told: str, logged: str | None = None) -> LedgerUnavailable:
    """For answers as it is `told`; for the log, where it may name places, as it is `logged`."""
    sentence = "the ledger cannot be used now ({}): send it again".format
    return LedgerUnavailable(sentence(told), logged=sentence(logged or told), headers=RETRY_AFTER)


def insert(connection: sa.Connection, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that may say what happens when the key is taken, in the dialect at hand."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def partial_index(name: str, *columns: str, sqlite: str, postgresql: str, unique: bool = False) -> sa.Index:
    """An index of the rows for which a condition holds, as each of the two writes it."""
    where = {_POSTGRESQL_WHERE: postgresql}  # not told SQLAlchemy yet: it would load the dialect
    return sa.Index(name, *columns, unique=unique, sqlite_where=sa.text(sqlite), info=where)


def create_tables(connection: sa.Connection) -> None:
    """Every table that has been imported, in an empty database."""
    if connection.dialect.name == "postgresql":
        for table in metadata.tables.values():
            for index in table.indexes:
                if _POSTGRESQL_WHERE in index.info:
                    index.dialect_options["postgresql"]["where"] = sa.text(index.info[_POSTGRESQL_WHERE])
    metadata.create_all(connection, checkfirst=False)


def ledger_url(database_url: str | None, home: Path) -> sa.URL:
    """Where the ledger of a service is. Raises ConfigError for a URL that cannot be used."""
    return _checked(database_url or sqlite_url(home / "nearnorm.db"))


def _checked(url: str | sa.URL) -> sa.URL:
    try:
        found = sa.engine.make_url(url)
    except exc.ArgumentError:
        raise ConfigError("NEARNORM_DATABASE_URL is no URL: write postgresql://user@host/name") from None
    if found.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(
            f"NEARNORM_DATABASE_URL names {found.get_backend_name()}: give sqlite or postgresql"
        )
    if found.get_backend_name() == "sqlite" and not found.database:
        raise ConfigError("NEARNORM_DATABASE_URL names no file: write sqlite:////folder/nearnorm.db")
    return found


def sqlite_url(file: Path) -> sa.URL:
    return sa.URL.create("sqlite", database=str(file.absolute()))


def _sqlite(file: SqliteFile) -> sa.Engine:
    engine = sa.create_engine(
        "sqlite://",
        creator=file.connect,
        poolclass=sa.QueuePool,
        pool_size=THREADS + 3,
        pool_timeout=PATIENCE,
    )
    file.watch(engine)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred transaction that turns to writing may find that another was first, and fails at
        # once; an immediate one waits for its turn.
        reading = connection.get_execution_options().get("reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgres(url: sa.URL) -> sa.Engine:
    from nearnorm.service.ledger.patient_connection import connect

    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        creator=lambda: connect(url.set(drivername="postgresql").render_as_string(False), PATIENCE),
        pool_size=THREADS + 3,
        pool_timeout=PATIENCE,
        pool_pre_ping=True,  # a server that came back costs no request
    )

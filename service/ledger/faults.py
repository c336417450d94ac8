"""What a database's error says: that the database cannot be used now, or that it does not take these values.

Only the first is worth trying again. PostgreSQL tells by the class of its SQLSTATE, SQLite by its error code.
"""

import sqlite3

from sqlalchemy import exc

_OUTAGES = {
    "08": "connection",
    "25": "state of the transaction: read-only, or idle for too long",
    "28": "who may connect",
    "3D": "no such database",
    "40": "rolled back: deadlock, serialization",
    "53": "resources: disk, memory, connections",
    "55": "locked, or in use",
    "57": "shut down, cancelled, timed out",
    "58": "system: files, I/O",
    "F0": "configuration",
}
_WITH_PLACES = {"08", "28", "3D", "53", "58"}
"""Classes of which PostgreSQL's words tell hosts, sockets, users or files."""
_OTHER_OUTAGES = {
    "42501": "no right to it",
    "42703": "no such column",
    "42P01": "no such table",
    "XX001": "corrupt data",
    "XX002": "corrupt index",
}
_VALUES = {
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}


def is_outage(error: BaseException) -> bool:
    """Whether the database, or the way to it, is at fault, whatever was to be stored."""
    if isinstance(error, exc.TimeoutError):
        return True  # no connection became free
    if not isinstance(error, exc.DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF not in _VALUES
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError)
    return state[:2] in _OUTAGES or state in _OTHER_OUTAGES


def is_locked(error: BaseException | None) -> bool:
    """Whether another has a SQLite file, and it did not become free in time."""
    return getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def kind(error: BaseException) -> str:
    """What is wrong, for an answer: what the database said, unless that may name places."""
    orig = getattr(error, "orig", None)
    if not isinstance(error, exc.DBAPIError) or isinstance(orig, sqlite3.Error):
        return first_line(error)
    of_class = (getattr(orig, "sqlstate", None) or "08")[:2]  # without one there was no connection
    return _OUTAGES[of_class] if of_class in _WITH_PLACES else first_line(error)


def first_line(error: BaseException) -> str:
    """What the database said, in one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

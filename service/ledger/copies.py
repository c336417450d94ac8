"""Copies of the whole ledger, while it is used: SQLite's online backup, and pg_dump."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from nearnorm.models.errors import ConfigError, NearnormError

MOST_SAID = 400  # characters of what a program says


def copy_sqlite(source: Path, target: Path) -> None:
    """The file as it is at one moment; writers go on. Raises NearnormError, for a damaged file too."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reading,
            closing(sqlite3.connect(target)) as copy,
        ):
            reading.backup(copy, pages=-1)  # at once, as every write begins it anew otherwise
            copy.execute("PRAGMA journal_mode=DELETE")  # one file
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise NearnormError(f"{source} cannot be copied: {error}") from None
    if found != "ok":
        raise NearnormError(f"{source} is damaged ({' '.join(found.split())}): restore an older backup")


def settle(file: Path) -> None:
    """Write what a file's log holds into it. Raises ConfigError where somebody has it open."""
    try:
        with closing(sqlite3.connect(file, timeout=1.0)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError:
        raise ConfigError(f"{file} is in use: stop the service first") from None
    except sqlite3.DatabaseError:
        pass  # it is damaged, and its log stays beside it


def dump_postgresql(url: sa.URL, tables: list[str], target: Path) -> None:
    """An archive of the tables at one moment. Raises NearnormError where pg_dump is not, or fails."""
    named = [f"--table={name}" for name in tables]
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", *named, f"--file={target}")


def load_postgresql(url: sa.URL, source: Path) -> None:
    """The tables as they were, all or none, where none of them is. Raises as `dump_postgresql`."""
    how = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run("pg_restore", url, *how, str(source))


def _run(program: str, url: sa.URL, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise ConfigError(
            f"{program} is not installed here, by which a ledger on PostgreSQL is copied: install the client "
            "programs of your server's release (apt-get install postgresql-client), or run it where they are"
        )
    plain = url.set(drivername="postgresql", password=None).render_as_string()
    secret = {"PGPASSWORD": str(url.password)} if url.password else {}
    done = subprocess.run(  # noqa: S603
        [path, f"--dbname={plain}", *arguments],
        env=os.environ | secret,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join(line.removeprefix(f"{program}: ") for line in done.stderr.strip().splitlines())
        raise NearnormError(f"{program} failed: {said[:MOST_SAID] or f'it ended with {done.returncode}'}")

"""Migrations since the last release only add: a service of that release goes on beside one of the next.

What takes away or narrows (a contract) comes a release later, when nothing that may still run uses it, and
sets `usable_from` to its own number: the first one says here of which release that is.
"""

import contextlib
import io
import re
import subprocess
import tarfile
import zipfile

import alembic.command
import pytest
import sqlalchemy as sa

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import configured
from tests.deploy.dockerfile import ROOT
from tests.service.ledger.servers import running_postgres
from tests.upgrades.releases import COMMITS, RELEASES, Release

WRITTEN = re.compile(r"^(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE|TRUNCATE)\b", re.I)


def expands(statement: str, made: set[str]) -> bool:
    """Whether an older service goes on after this statement. `made`: what is new, which it does not know."""
    words = " ".join(statement.split())
    table = re.match(
        r"(?:(?:CREATE|ALTER|DROP) TABLE|CREATE (?:UNIQUE )?INDEX \S+ ON|INSERT INTO|UPDATE|DELETE FROM) "
        r"\"?(\w+)",
        words,
        re.I,
    )
    if table is None:
        return False
    if table[1] in made or table[1] == "alembic_version":
        return True
    if re.match(r"CREATE TABLE", words, re.I):
        made.add(table[1])
        return True
    if re.match(r"CREATE INDEX", words, re.I):
        return True
    unique = re.match(r"CREATE UNIQUE INDEX \S+ ON \w+ \((\w+)", words, re.I)
    if unique:
        return f"{table[1]}.{unique[1]}" in made  # of a column that the older service leaves empty
    added = re.fullmatch(r"ALTER TABLE \w+ ADD COLUMN \"?(\w+)\"? (.*)", words, re.I)
    if added and ("NOT NULL" not in added[2].upper() or "DEFAULT" in added[2].upper()):
        made.add(f"{table[1]}.{added[1]}")
        return True
    return False


@pytest.mark.parametrize(
    ("statement", "does"),
    [
        ("CREATE TABLE fresh (id TEXT)", True),
        ("CREATE INDEX events_by_more ON events (more)", True),
        ("ALTER TABLE events ADD COLUMN more TEXT", True),
        ("ALTER TABLE events ADD COLUMN more TEXT DEFAULT '' NOT NULL", True),
        ("ALTER TABLE events ADD COLUMN more TEXT NOT NULL", False),
        ("CREATE UNIQUE INDEX one_record ON events (record_id)", False),
        ("ALTER TABLE events ALTER COLUMN model SET NOT NULL", False),
        ("ALTER TABLE events DROP COLUMN model", False),
        ("ALTER TABLE events RENAME TO log", False),
        ("ALTER TABLE events ADD CONSTRAINT short CHECK (length(model) < 9)", False),
        ("DROP TABLE events", False),
        ("UPDATE events SET model = 'other'", False),
        ("DELETE FROM labels", False),
    ],
)
def test_what_adds_is_told_from_what_takes_away(statement: str, does: bool) -> None:
    assert expands(statement, set()) == does


def test_every_migration_since_the_last_release_only_adds() -> None:
    """As PostgreSQL is told it: for SQLite alembic may have to make a table anew."""
    told: list[str] = []
    with running_postgres() as uri, contextlib.closing(Ledger(uri)) as ledger, ledger.write() as connection:
        alembic.command.upgrade(configured(connection), max(one.revision for one in RELEASES))

        @sa.event.listens_for(connection, "before_cursor_execute")
        def note(_: object, __: object, statement: str, *___: object) -> None:
            told.append(statement)

        alembic.command.upgrade(configured(connection), "head")
    made: set[str] = set()
    written = [" ".join(one.split()) for one in told if WRITTEN.match(one.strip())]
    assert written
    assert [one for one in written if not expands(one, made)] == []


def test_the_changelogs_releases_are_those_that_upgrades_are_tried_from() -> None:
    headings = re.findall(r"^## (\d\S*) \(", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert sorted(headings) == sorted(one.version for one in RELEASES)


@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.version)
def test_a_wheel_is_what_its_commit_was(release: Release) -> None:
    commit = COMMITS[release.version]
    names = ("service", "models", "training", "src/nearnorm/client")
    made = subprocess.run(["git", "archive", commit, *names], cwd=ROOT, capture_output=True)
    if made.returncode:
        pytest.skip(f"this clone does not reach back to {commit[:7]}")
    with zipfile.ZipFile(release.wheel) as wheel, tarfile.open(fileobj=io.BytesIO(made.stdout)) as source:
        packed = {name for name in wheel.namelist() if name.endswith(".py")}
        for member in source:
            name = f"nearnorm/{member.name.removeprefix('src/nearnorm/')}"
            file = source.extractfile(member)
            if file and name.endswith(".py"):
                assert wheel.read(name) == file.read(), name
                packed.discard(name)
    assert {name for name in packed if name.startswith("nearnorm/service/")} == set()

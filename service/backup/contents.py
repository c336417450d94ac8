"""What a backup says of itself.

begun.json          put first: that a backup was begun here
ledger              the ledger: an SQLite file, or pg_dump's archive
activations.jsonl   the store's log, an entry a line
deletions.jsonl     that versions were deleted, one a line
versions/<sha256>/  bundles
backup.json         put last: what belongs to it, with digests; without it the backup is unfinished
"""

import hashlib
import tempfile
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from nearnorm.models.errors import ConfigError
from nearnorm.service.backup.place import BackupPlace

BEGUN, CONTENTS = "begun.json", "backup.json"
LEDGER, ACTIVATIONS, DELETIONS = "ledger", "activations.jsonl", "deletions.jsonl"
FORMAT = 1


class Begun(Struct, frozen=True):
    """`at` is ISO 8601 in UTC, `host` the machine's name."""

    at: str
    host: str


class BackedUp(Struct, frozen=True):
    """A file, and the sha256 (hex) of its content."""

    name: str
    bytes: int
    sha256: str


class Contents(Struct, frozen=True):
    """`begun` and `ended` are ISO 8601 in UTC; the ledger is as it was between them, at the `revision` of its
    tables. `versions` are oldest first, `champions` by model. `damaged` says what is wrong with versions of
    the store that are not in the backup, `left_out` names what else is needed and lies elsewhere."""

    format: int
    release: str
    begun: str
    ended: str
    ledger: Literal["sqlite", "postgresql"]
    revision: str
    versions: list[str]
    champions: dict[str, str]
    files: list[BackedUp]
    damaged: dict[str, str]
    left_out: list[str]


def backed_up(name: str, path: Path) -> BackedUp:
    with path.open("rb") as file:
        return BackedUp(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write(place: BackupPlace, name: str, content: bytes) -> BackedUp:
    with place.making(name) as path:
        path.write_bytes(content)
        return backed_up(name, path)


def refuse_taken(place: BackupPlace) -> None:
    """Raises ConfigError where something lies in the place already, and says what."""
    if place.is_empty():
        return
    with tempfile.TemporaryDirectory() as name:
        is_whole = place.fetch(CONTENTS, Path(name) / CONTENTS)
        begun = _begun(place, Path(name))
    if is_whole:
        raise ConfigError(f"{place.name} holds a backup already: name another place, or remove it first")
    if begun:
        raise ConfigError(f"{place.name} holds {begun}: remove it, or name another place")
    raise ConfigError(f"{place.name} holds other files: name a new or empty place")


def read_contents(place: BackupPlace, folder: Path) -> Contents:
    """Raises ConfigError where there is no whole backup that this release can read."""
    if not place.fetch(CONTENTS, folder / CONTENTS):
        if begun := _begun(place, folder):
            raise ConfigError(f"{place.name} holds {begun}: nothing was restored, use another backup")
        raise ConfigError(f"{place.name} holds no backup: it has no {CONTENTS}")
    content = (folder / CONTENTS).read_bytes()
    try:
        if (found := msgspec.json.decode(content, type=_Format).format) != FORMAT:
            raise ConfigError(
                f"{place.name} has backup format {found}, and this release reads {FORMAT}: restore it with "
                "the release that wrote it"
            )
        return msgspec.json.decode(content, type=Contents)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{place.name}/{CONTENTS} is damaged: {error}") from None


class _Format(Struct, frozen=True):
    format: int


def _begun(place: BackupPlace, folder: Path) -> str | None:
    if not place.fetch(BEGUN, folder / BEGUN):
        return None
    content = (folder / BEGUN).read_bytes()
    if not content:
        return "an unfinished backup, which ended as it began"
    try:
        begun = msgspec.json.decode(content, type=Begun)
    except msgspec.DecodeError:
        return f"an unfinished backup ({BEGUN} is damaged)"
    return f"an unfinished backup, begun on {begun.at} by {begun.host} and never ended"

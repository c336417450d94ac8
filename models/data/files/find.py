"""Which files a name means: one file, the files of a folder or a glob, or objects of an object store.

A plain name that exists is that file, whatever characters it holds.
"""

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from nearnorm.models.data.files import objects
from nearnorm.models.errors import ConfigError, DataError

CSV_ENDINGS = tuple(
    f"{ending}{packed}" for ending in (".csv", ".tsv", ".txt") for packed in ("", ".gz", ".zst")
)
PARQUET_ENDINGS = (".parquet", ".pq")
ENDINGS = "must end in .csv, .csv.gz, .csv.zst, .tsv, .txt or .parquet"


@dataclass(frozen=True)
class DataFile:
    """One file: what it is called, how to open it, and the columns that its folders' names hold (`day=3`).
    Its `mark` changes when it does; `size` is in bytes."""

    name: str
    open: Callable[[], pa.NativeFile]
    size: int
    mark: str
    partitions: dict[str, str] = field(default_factory=dict)

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith(PARQUET_ENDINGS)


def find_files(source: str) -> list[DataFile]:
    """The files that `source` means, in the order of their names. Raises DataError where there is none."""
    if "://" in source:
        found = [
            DataFile(o.url, o.open, o.size, o.mark, partitions(o.key)) for o in objects.find(source, is_data)
        ]
    else:
        found = [_local(path, base) for path, base in local_paths(source)]
    for file in found:
        if not is_data(file.name):
            raise DataError(f"{file.name}: its name {ENDINGS}: save other kinds as one of these")
    return found


def local_paths(source: str) -> list[tuple[Path, Path]]:
    """Files on this machine, each with the folder that was named, or comes before a pattern, or its own."""
    path = Path(source)
    if path.is_dir():
        return [(file, path) for file in _files_of(path)]
    if path.exists() or not glob.has_magic(source):
        return [(path, path.parent)]
    found: list[tuple[Path, Path]] = []
    base = Path(before_pattern(source))
    for name in sorted(glob.glob(source, recursive=True)):
        match = Path(name)
        found.extend((file, base) for file in (_files_of(match) if match.is_dir() else [match]))
    if not found:
        raise DataError(f"{source} does not exist, and matches no file")
    return list(dict(found).items())


def before_pattern(source: str) -> str:
    """The folders of a glob, or of a plain name, that are no pattern."""
    folders = source.split("/")[:-1]
    patterns = [i for i, folder in enumerate(folders) if glob.has_magic(folder)]
    return "/".join(folders[: patterns[0]] if patterns else folders) or "/" * source.startswith("/")


def is_data(name: str) -> bool:
    return name.lower().endswith(CSV_ENDINGS + PARQUET_ENDINGS)


def partitions(path: str) -> dict[str, str]:
    """The columns in a path's folders, as Hive and Spark write them: `month=2024-01/part-0.parquet`."""
    pairs = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return {name: value for name, _, value in pairs if name}


def refuse_overwriting(out: Path, source: str, option: str = "--out") -> None:
    """Raise ConfigError where `out` is, or lies among, what is read from `source`."""
    if "://" in source:
        return
    target = os.path.realpath(out)
    folder = os.path.realpath(source)
    inside = Path(source).is_dir() and is_data(out.name) and Path(target).is_relative_to(folder)
    if inside or any(os.path.realpath(path) == target or _same(path, out) for path, _ in _named(source)):
        raise ConfigError(f"{option} {out} is what is read: name another file, so that nothing is lost")


def _named(source: str) -> list[tuple[Path, Path]]:
    try:
        return local_paths(source)
    except DataError:  # told when it is read
        return []


def _same(path: Path, out: Path) -> bool:
    try:
        return path.samefile(out)
    except OSError:
        return False


def _files_of(folder: Path) -> list[Path]:
    """The data files in a folder and below, but for hidden ones and a writer's own (_SUCCESS, .crc)."""
    inside = sorted(path for path in folder.rglob("*") if path.is_file())
    shown = [p for p in inside if not any(x[0] in "._" for x in p.relative_to(folder).parts)]
    files = [path for path in shown if is_data(path.name)]
    if not files:
        raise DataError(f"{folder} is a folder without data files: their names {ENDINGS}")
    return files


def _local(path: Path, base: Path) -> DataFile:
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not path.is_file():
        raise DataError(f"{path} is no plain file")

    def opened() -> pa.NativeFile:
        try:
            return pa.OSFile(str(path))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "it cannot be opened"
            raise DataError(f"{path} cannot be read: {reason}") from None

    status = path.stat()
    mark = f"{status.st_size}-{status.st_mtime_ns}"
    return DataFile(str(path), opened, status.st_size, mark, partitions(path.relative_to(base).as_posix()))

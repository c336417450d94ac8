"""`nearnorm score` of many files, from top to bottom: plan, skip what is done, score, say what is there."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from nearnorm import __version__
from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.parts.destination import Destination, open_destination
from nearnorm.service.batch.parts.plan import OutputPart, plan
from nearnorm.service.batch.parts.rows import open_rows
from nearnorm.service.batch.parts.work import Counts, PartResult, PartScorer, read_counts
from nearnorm.service.batch.record_batches import BatchScorer

MANIFEST = "_manifest.json"
"""It is there once every part is: what was scored by what, and the counts of each part."""
FAILURES_AT_FIRST = 3
"""After so many, and no part that was scored, none will be."""
_READERS = 16

Engine = Callable[[PartScorer, Sequence[OutputPart]], Iterator[PartResult]]


class RunProgress(Struct, frozen=True):
    """How many of how many parts are there, those of earlier runs among them, and their rows."""

    parts: int
    of: int
    counts: Counts


def score_parts(
    score: BatchScorer,
    source: str,
    out: str,
    file_format: FileFormat,
    engine: Engine,
    progress: Callable[[RunProgress], object],
) -> RunProgress:
    """Score the files of `source` into parts below `out`, by an engine. Parts that are there stay.

    Raises ConfigError where `out` holds something else, DataError where parts could not be scored: the others
    are there, and the next run goes on with what is left.
    """
    destination = open_destination(out)
    parts = plan(source, score, file_format)
    _refuse_what_is_read(out, source, parts)
    done = _done(destination, parts)
    left = [part for part in parts if part.name not in done]
    if left:
        destination.remove(MANIFEST)
        with suppress(DataError), open_rows(left[0], score, file_format, score.warn) as rows:
            score.answers(rows.schema)  # for its warnings; what it refuses is told of each part
    progress(_progress(done, parts))
    failed: list[PartResult] = []
    for result in engine(PartScorer(score, destination, file_format), left):
        if result.counts is None:
            failed.append(result)
            if result.hopeless or (len(failed) >= FAILURES_AT_FIRST and not done):
                break
        else:
            done[result.name] = result.counts
            progress(_progress(done, parts))
    if failed:
        others = f"; {len(done)} of {len(parts)} parts are in {out}" if done else ""
        more = f" (and {len(failed) - 1} more like it)" if len(failed) > 1 else ""
        raise DataError(
            f"{failed[0].why}{more}{others}: mend it and run it again, which goes on with the rest"
        )
    destination.tidy()
    destination.put(MANIFEST, _manifest(score, source, parts, done))
    return _progress(done, parts)


def in_this_process(work: PartScorer, parts: Sequence[OutputPart]) -> Iterator[PartResult]:
    """The engine where no other is asked for."""
    return map(work, parts)


def _refuse_what_is_read(out: str, source: str, parts: Sequence[OutputPart]) -> None:
    folder = _whole(out)
    named = source.endswith("/") if "://" in source else Path(source).is_dir()
    if any(_whole(part.file).startswith(folder) for part in parts) or (
        named and folder.startswith(_whole(source))
    ):
        raise ConfigError(f"--out {out} is, or lies among, what is read: name another folder")


def _whole(name: str) -> str:
    """With a slash at its end, so that data/ is no part of data2/."""
    return (name if "://" in name else str(Path(name).resolve())).rstrip("/") + "/"


def _done(destination: Destination, parts: Sequence[OutputPart]) -> dict[str, Counts]:
    """The counts of the parts that are there. Raises ConfigError where there are others."""
    there = sorted(destination.parts())
    strange = set(there).difference(part.name for part in parts)
    if strange:
        raise ConfigError(
            f"--out {destination.url} holds {min(strange)}, which is of other data, another model or other "
            "options: name another folder, or remove what is there"
        )
    with ThreadPoolExecutor(_READERS) as readers:
        return dict(zip(there, readers.map(partial(read_counts, destination), there), strict=True))


def _progress(done: dict[str, Counts], parts: Sequence[OutputPart]) -> RunProgress:
    return RunProgress(len(done), len(parts), sum(done.values(), Counts()))


def _manifest(score: BatchScorer, source: str, parts: Sequence[OutputPart], done: dict[str, Counts]) -> bytes:
    total = _progress(done, parts).counts
    content = {
        "release": __version__,
        "version": score.bundle.version,
        "verdict": score.verdict.told,
        "threshold": score.verdict.threshold,
        "source": source,
        **msgspec.to_builtins(total),
        "parts": [
            {
                "part": part.name,
                "file": part.file,
                "row_groups": part.groups,
                **msgspec.to_builtins(done[part.name]),
            }
            for part in parts
        ],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1)

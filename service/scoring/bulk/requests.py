"""Requests whose bodies take long: read and written in the bulk process, scored and noted here in slices.

Their answers are, byte for byte, what they would be if they were read in the event loop.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from starlette.types import Receive

from nearnorm.service.access.keyring import Caller
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.records.kept_columns import unpack
from nearnorm.service.records.shapes import Matched
from nearnorm.service.scoring.answer_parts import Reasons
from nearnorm.service.scoring.bulk.lane import BulkLane
from nearnorm.service.scoring.bulk.messages import (
    Arrays,
    NoSuchModel,
    ReadBody,
    RowsRead,
    WriteAnswer,
    as_array,
)
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.scoring.rows import counted, explained, scored_rows, show_to_drift, whole
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry
from nearnorm.service.serving.results import Scores

AT_ONCE = 256
"""Rows that are remembered before the event loop gets its turn: alerts take 5 us each."""


class Body(Struct, frozen=True):
    """`codec` names the module that reads it and writes its answer (None: JSON of /score). `named`, `version`
    (the one that has to serve) and `explain` are told beside a body that does not say so itself."""

    content: bytes
    codec: str | None = None
    named: str | None = None
    explain: bool = False
    version: str | None = None


class BulkAnswer(Struct, frozen=True):
    """`payload` is as the body's codec writes it."""

    payload: bytes
    version: str
    event_ids: Sequence[str]


class _Read(Struct, eq=False):
    """A body's rows; `left` is what the bulk process wants back."""

    model: LoadedModel
    encoded: Encoded
    errors: int
    explain: bool
    left: NDArray[np.uint8]


class _Noted(Struct, eq=False):
    """What came of all rows, slice by slice."""

    percentile: list[float] = []
    anomaly: list[bool] = []
    novel: dict[int, tuple[int, ...]] = {}
    event_ids: dict[int, str] = {}
    matched: dict[int, Matched] = {}


class BulkRequests:
    def __init__(self, registry: Registry, memory: Memory, lane: BulkLane) -> None:
        self._registry = registry
        self._memory = memory
        self._lane = lane

    async def answer(self, body: Body, caller: Caller, receive: Receive | None = None) -> BulkAnswer:
        """Raises ServiceError; ClientGoneError where `receive` says so while the request waits."""
        with self._lane.place(caller.name):
            read = await self._read(body, caller)
            model, encoded = read.model, read.encoded
            counted(model, encoded.count, read.errors, caller.meter)
            parts = await scored_rows(model, encoded, caller.name, receive)
            scores = whole(encoded, parts) if read.explain else None
            reasons = await explained(model, encoded, scores, caller.name) if read.explain else None
            noted = await self._note(read, parts, caller.name)
            payload = await self._write(body.codec, read, parts, noted, reasons, caller.name)
        return BulkAnswer(payload, model.ref.version, list(noted.event_ids.values()))

    async def _read(self, body: Body, caller: Caller) -> _Read:
        while True:
            if body.named:
                await self._registry.bring(body.named, caller.lines, body.version)
            first = await self._registry.bring_first(caller.lines)
            models = {n: model for n, model in self._registry.loaded().items() if caller.lines.sees(n)}
            versions = {name: model.ref.version for name, model in models.items()}
            encoders = {model.ref.version: model.encoder for model in models.values()}
            job = ReadBody(body.codec, first.ref.name, body.named, versions, {})
            found, arrays = await self._lane.ask(caller.name, job, [as_array(body.content)], encoders)
            if isinstance(found, RowsRead):
                model = models[found.model]
                names, beside = model.encoder.schema.kept, arrays[3 + found.some :]
                return _Read(
                    model,
                    Encoded(
                        Rows(arrays[0], arrays[1]),
                        found.count,
                        arrays[3].tolist() if found.some else None,
                        unknown=found.unknown,
                        ids=found.ids,
                        beside=unpack(names, beside) if names else None,
                    ),
                    found.errors,
                    found.explain or body.explain,
                    arrays[2],
                )
            if isinstance(found, NoSuchModel):
                await self._registry.bring(found.name, caller.lines)

    async def _note(self, read: _Read, parts: Sequence[Scores], caller: str) -> _Noted:
        """Remember the rows, some at a time: thousands of alerts take tens of milliseconds."""
        all_, first = _Noted(), 0
        for part in parts:
            for start in range(0, len(part), AT_ONCE):
                piece = part.cut(start, start + AT_ONCE)
                rows = read.encoded.cut(first, first + len(piece))
                noted = self._memory.note(read.model, rows, piece, caller)
                show_to_drift(read.model, [piece], noted.event_ids)
                all_.percentile += piece.percentile
                all_.anomaly += piece.anomaly
                all_.novel.update((first + row, signals) for row, signals in piece.novel.items())
                all_.event_ids.update((first + row, event) for row, event in noted.event_ids.items())
                all_.matched.update((first + row, found) for row, found in noted.matched.items())
                first += len(piece)
                await asyncio.sleep(0)
        return all_

    async def _write(
        self,
        codec: str | None,
        read: _Read,
        parts: Sequence[Scores],
        noted: _Noted,
        reasons: Reasons | None,
        caller: str,
    ) -> bytes:
        facts = read.model.facts
        job = WriteAnswer(
            codec,
            facts.ref,
            facts.provider,
            facts.signals.names,
            bool(parts),
            noted.novel,
            noted.event_ids,
            noted.matched,
            None if reasons is None else dict(reasons.by_row),
            {} if reasons is None else reasons.groups,
            None if reasons is None else reasons.warning,
        )
        arrays: Arrays = [read.left, *_verdicts(parts, noted)] if parts else [read.left]
        _, written = await self._lane.ask(caller, job, arrays)
        return written[0].tobytes()


def _verdicts(parts: Sequence[Scores], noted: _Noted) -> Arrays:
    def all_of(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part.batch.outputs, name)[part.start : part.stop] for part in parts])

    numbers = [all_of(name) for name in ("score", "prototype", "distance", "reconstruction_error")]
    return [*numbers, np.array(noted.percentile, np.float64), np.array(noted.anomaly, bool)]

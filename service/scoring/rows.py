"""Rows on their way through a model: counted, scored, explained, remembered, and shown to drift."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.types import Receive

from nearnorm.service.access.quota import Meter
from nearnorm.service.http.body import ClientGoneError
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.scoring.answer_parts import NOTHING, Reasons, Remembered
from nearnorm.service.scoring.explain import Explanation
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.serving.memory.loader import BATCH_ROWS
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores, joined


def drawn(model: LoadedModel, rows: int, meter: Meter | None) -> None:
    """Take a request's rows from the allowances of its caller and its line. Raises RateLimited, TooManyRows.

    What the line refuses is not drawn from the caller's.
    """
    if meter is not None:
        meter.check_rows(rows)
    if model.quota is not None:
        model.quota.request()
        model.quota.rows(rows)
    if meter is not None:
        meter.draw_rows(rows)


def counted(model: LoadedModel, rows: int, errors: int, meter: Meter | None) -> None:
    """`drawn`, and told by metrics and drift how many of them had mistakes."""
    drawn(model, rows, meter)
    model.meter.row_errors += errors
    model.counted.errors += errors


def whole(encoded: Encoded, parts: Sequence[Scores]) -> Scores | None:
    """One request's scores; None where there are none."""
    if len(parts) == 1:
        return parts[0]
    return joined(encoded.rows, parts) if parts else None


async def scored_rows(
    model: LoadedModel, encoded: Encoded, caller: str, receive: Receive | None
) -> Sequence[Scores]:
    """Raises ClientGoneError where `receive` says so before the rows' turn has come."""
    if not len(encoded.rows):
        return []
    waiting = model.batcher.submit(encoded.rows, caller)
    if receive is not None and model.batcher.rows > BATCH_ROWS:  # it will take a while: does anybody listen?
        await _unless_gone(waiting, receive)
    return await waiting


async def explained(
    model: LoadedModel, encoded: Encoded, scores: Scores | None, caller: str
) -> Reasons | None:
    if scores is None:
        return None
    explanation = Explanation.of(scores)
    return explanation.reasons(model, encoded, await model.explaining.submit(explanation.scored, caller))


def remembered(
    memory: Memory,
    model: LoadedModel,
    encoded: Encoded,
    scores: Scores | None,
    parts: Sequence[Scores],
    caller: str,
    source: Callable[[int], str] | None = None,
) -> Remembered:
    """What is kept of a request that is answered at once; drift hears of it. Changes `scores.anomaly`."""
    if scores is None:
        return NOTHING
    noted = memory.note(model, encoded, scores, caller, source)
    show_to_drift(model, parts, noted.event_ids)
    return noted


def show_to_drift(model: LoadedModel, parts: Sequence[Scores], event_ids: Mapping[int, str]) -> None:
    """Batches that nobody has shown to drift yet, and which events of them are kept, by row."""
    for part in parts:
        if not part.batch.watched:
            model.watch(part.batch)
    if not event_ids:
        return
    ahead, first, stop = iter(parts), 0, 0
    for index, event_id in event_ids.items():  # in the order of rows
        while index >= stop:
            part = next(ahead)
            first, stop = stop, stop + len(part)
        part.batch.event_ids[part.start + index - first] = event_id


async def _unless_gone(waiting: "asyncio.Future[list[Scores]]", receive: Receive) -> None:
    """Return when the answer is there; raise ClientGoneError, and take the request back, when nobody is."""
    gone = asyncio.ensure_future(receive())
    both: set[asyncio.Future[Any]] = {waiting, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise ClientGoneError
    finally:
        gone.cancel()

"""What to review next."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from msgspec.structs import replace
from pydantic import BaseModel

from nearnorm.models.conformal import lowest_percentile
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    model_of,
    needs,
    services_of,
)
from nearnorm.service.feedback import queue
from nearnorm.service.feedback.queue import Pick
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables.events.candidates import candidates
from nearnorm.service.ledger.tables.feedback import skips, snoozes
from nearnorm.service.ledger.tables.feedback.reference_rows import reference_rows
from nearnorm.service.ledger.tables.feedback.second_opinions import second_opinions
from nearnorm.service.records.kept_columns import masked
from nearnorm.service.scoring.explain import assess
from nearnorm.service.serving.model import LoadedModel

router = APIRouter(prefix="/queue", tags=["feedback"])


class QueueItem(BaseModel):
    """`why` it is here; `said`: the label that waits for a second opinion;
    `probability` is that of a record like it being kept, for estimates without bias. `kept`: columns outside
    the model, masked in GET /queue and whole in POST /claims. `skipped`: by how many analysts."""

    event_id: str
    why: queue.Why
    probability: float
    at: str
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    model_version: str
    record: dict[str, Any]
    kept: dict[str, str] | None = None
    skipped: int | None = None
    reasons: list[dict[str, Any]] | None = None
    id: str | None = None
    said: str | None = None


class QueuePage(BaseModel):
    """`next` is the cursor of the page after this one."""

    queue: list[QueueItem]
    next: str | None = None


@router.get("", response_model_exclude_none=True)
async def get_queue(
    request: Request,
    caller: Annotated[Caller, needs("feedback")],
    model: str = "default",
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: str | None = None,
    explain: bool = False,
) -> QueuePage:
    """What contradicts the model and waits for a second opinion; then what nobody has judged: a new model's
    highest reference rows, and kept events: the strangest, the uncertain, and some at random. `explain` adds
    the reasons that the serving model has."""
    services = services_of(request)
    loaded, begin = await model_of(request, model), queue.read_cursor(cursor)
    wanted = services.settings.reference_reviews
    version, threshold = loaded.ref.version, lowest_percentile(loaded.ranks.policy.budget)

    def look(connection: sa.Connection) -> tuple[list[Pick], queue.Cursor | None, dict[str, int]]:
        picks, end = pick(connection)
        return picks, end, skips_of(connection, model, picks)

    def pick(connection: sa.Connection) -> tuple[list[Pick], queue.Cursor | None]:
        now = now_ms()
        second, row, logged = (
            snoozes.is_awake(model, table.c.digest, now)
            for table in (second_opinions, reference_rows, candidates)
        )
        doubted, at = queue.review_doubts(connection, model, limit, begin, second)
        left = limit - len(doubted)
        first, at = queue.review_reference(connection, model, version, wanted, left, at, row)
        left -= len(first)
        if not left:
            return [*doubted, *first], at
        rest, end = queue.review(connection, model, threshold, left, at, logged)
        return [*doubted, *first, *rest], end

    picks, end, skipped = await services.ledger.seen(look)
    found = await items_of(picks, loaded, explain, skipped, caller.name)
    for item in found:
        item.kept = item.kept and masked(item.kept)
    return QueuePage(queue=found, next=queue.write_cursor(end) if end else None)


def skips_of(connection: sa.Connection, model: str, picks: Sequence[Pick]) -> dict[str, int]:
    """How many analysts skipped each, by digest."""
    return skips.counts(connection, model, [pick.event.digest for pick in picks])


async def items_of(
    picks: Sequence[Pick], loaded: LoadedModel, explain: bool, skipped: Mapping[str, int], caller: str
) -> list[QueueItem]:
    """As they are answered; `explain` adds the reasons that the model has."""
    found = [_item(pick, loaded, skipped.get(pick.event.digest)) for pick in picks]
    if explain and found:
        assessed = await assess(loaded, [item.record for item in found], caller)
        for item, own in zip(found, assessed, strict=True):
            item.reasons = None if own is None else msgspec.to_builtins(own.reasons)
    return found


def _item(pick: Pick, model: LoadedModel, skipped: int | None) -> QueueItem:
    event = pick.event
    if pick.why in ("reference", "second_opinion"):  # its rank changes with every verdict on another row
        (percentile,), (anomaly,) = model.ranks.judge(np.array([event.score], np.float32))
        event = replace(event, percentile=float(percentile), anomaly=bool(anomaly))
    return QueueItem(
        event_id=event.event_id,
        why=pick.why,
        said=pick.said,
        probability=event.probability,
        id=event.record_id,
        at=iso(event.at),
        score=event.score,
        percentile=event.percentile,
        anomaly=event.anomaly,
        prototype=event.prototype,
        model_version=event.model_version,
        record=event.record,
        kept=event.kept,
        skipped=skipped,
    )

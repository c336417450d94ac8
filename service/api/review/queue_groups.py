"""Groups of records that are alike, among what the queue offers next."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from nearnorm.models.conformal import lowest_percentile
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    model_of,
    needs,
    services_of,
)
from nearnorm.service.api.review.claims import holder_of
from nearnorm.service.api.review.queue import QueueItem, items_of, skips_of
from nearnorm.service.feedback import alike, queue
from nearnorm.service.feedback.alike import AlikeRecords, Likeness, Side
from nearnorm.service.feedback.queue import Cursor, Pick
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables.events.candidates import candidates
from nearnorm.service.ledger.tables.feedback import claims, skips, snoozes
from nearnorm.service.records.kept_columns import masked
from nearnorm.service.scoring.explain import assess
from nearnorm.service.serving.model import LoadedModel

router = APIRouter(prefix="/queue/groups", tags=["feedback"])

AMONG = 500
"""Records that are looked at: those which the queue offers next."""
SECONDS = 2.0
"""For so long reasons are looked for that are not known yet; a request later they are."""
_AT_ONCE = 50
EXAMPLES = 3


class LeadingReason(BaseModel):
    """`side`: below or above the range of the nearest normal group (`expected`), within it, at another hour
    of the day, another category (`value` is it), or missing."""

    feature: str
    side: Side
    value: Any = None
    expected: dict[str, Any]


class AlikeMember(BaseModel):
    """As in the queue, without its values."""

    event_id: str
    id: str | None = None
    at: str
    percentile: float
    anomaly: bool


class AlikeGroup(BaseModel):
    """`records` of one `prototype` with the same leading `reasons`, which `words` say in a sentence. `alerts`
    are those above the threshold when they were scored. `event_ids` are for POST /feedback/groups; the
    first three are `examples`, with their values."""

    records: int
    alerts: int
    highest_percentile: float
    prototype: int
    reasons: list[LeadingReason]
    words: str
    event_ids: list[str]
    members: list[AlikeMember]
    examples: list[QueueItem]


class AlikeGroups(BaseModel):
    """The largest first. Of `records` that were looked at `alone` are like no other; the reasons of `left`
    are not known yet: ask again."""

    groups: list[AlikeGroup]
    records: int
    alone: int
    left: int


@router.get("", response_model_exclude_none=True)
async def get_groups(
    request: Request,
    caller: Annotated[Caller, needs("feedback")],
    model: str = "default",
    analyst: Annotated[
        str | None, Query(description="Who reviews, as in POST /claims: what others hold is left out.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=250)] = 20,
) -> AlikeGroups:
    """Of the 500 kept events that the queue offers next, those that are alike, the largest groups first."""
    return await gathered(request, caller, model, analyst, limit)


async def gathered(
    request: Request, caller: Caller, model: str, analyst: str | None, limit: int
) -> AlikeGroups:
    """What is alike in the queue now. Raises InvalidRequest, UnknownModel."""
    services, loaded = services_of(request), await model_of(request, model)
    holder, threshold = holder_of(caller, analyst), lowest_percentile(loaded.ranks.policy.budget)

    def look(connection: sa.Connection) -> tuple[list[Pick], dict[str, int]]:
        digest, now = candidates.c.digest, now_ms()
        free = sa.and_(claims.is_free_for(model, digest, holder, now), snoozes.is_awake(model, digest, now))
        mine = sa.and_(free, sa.not_(skips.is_skipped(model, digest, holder)))
        picks, _ = queue.review(connection, model, threshold, AMONG, Cursor(), mine)
        return picks, skips_of(connection, model, picks)

    async with services.likenesses.one_read:
        picks, skipped = await services.ledger.seen(look)
    known = services.likenesses.find(loaded.ref.version, picks)
    unknown = [pick for pick in picks if pick.event.digest not in known]
    left = await _look_for_reasons(loaded, unknown, known, caller.name)
    services.likenesses.learn(loaded.ref.version, known)
    found = alike.gather(picks, known)
    in_groups = sum(len(one.picks) for one in found)
    groups = [await _group(one, loaded, skipped, caller.name) for one in found[:limit]]
    return AlikeGroups(groups=groups, records=len(picks), alone=len(picks) - left - in_groups, left=left)


async def _look_for_reasons(
    loaded: LoadedModel, picks: Sequence[Pick], known: dict[str, Likeness | None], caller: str
) -> int:
    """What the model has, into `known`, by digest; how many records were left when the time was over."""
    until, schema, done = time.monotonic() + SECONDS, loaded.manifest.core.features, 0
    while done < len(picks) and time.monotonic() < until:
        part = picks[done : done + _AT_ONCE]
        assessed = await assess(loaded, [pick.event.record for pick in part], caller)
        for pick, one in zip(part, assessed, strict=True):
            known[pick.event.digest] = (
                None if one is None else alike.likeness(schema, one.prototype, one.reasons)
            )
        done += len(part)
    return len(picks) - done


async def _group(
    found: AlikeRecords, loaded: LoadedModel, skipped: dict[str, int], caller: str
) -> AlikeGroup:
    prototype, traits = found.likeness
    events = [pick.event for pick in found.picks]
    first = events[0].record
    expected = {trait.feature: loaded.explainer.expected(prototype, trait.feature) for trait in traits}
    examples = await items_of(found.picks[:EXAMPLES], loaded, False, skipped, caller)
    for item in examples:
        item.kept = item.kept and masked(item.kept)
    return AlikeGroup(
        records=len(events),
        alerts=sum(event.anomaly for event in events),
        highest_percentile=max(event.percentile for event in events),
        prototype=prototype,
        reasons=[
            LeadingReason(
                feature=trait.feature,
                side=trait.side,
                value=first.get(trait.feature) if trait.side == "is" else None,
                expected=expected[trait.feature],
            )
            for trait in traits
        ],
        words=alike.words(traits, first, expected),
        event_ids=[event.event_id for event in events],
        members=[
            AlikeMember(
                event_id=event.event_id,
                id=event.record_id,
                at=iso(event.at),
                percentile=event.percentile,
                anomaly=event.anomaly,
            )
            for event in events
        ],
        examples=examples,
    )

"""One event as whoever reviews it sees it: then and now, why, among what, and what others said of it."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    model_of,
    needs,
    services_of,
    versions_of,
)
from nearnorm.service.api.review.claims import holder_of
from nearnorm.service.api.review.snoozes import Snoozed
from nearnorm.service.feedback import review
from nearnorm.service.feedback.review import FoundEvent, RecordContext, SaidLabel, Source
from nearnorm.service.ids import iso
from nearnorm.service.ledger.label_history import Verdict
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.scoring.explain import Assessed, assess
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.groups import describe

router = APIRouter(prefix="/events", tags=["feedback"])


class EventVerdict(BaseModel):
    """By which version and which alert budget; `anomaly` of now is by score and novelty, not by labels."""

    anomaly: bool
    percentile: float
    score: float
    model_version: str
    budget: str
    novel: list[str] | None = None
    novel_distance: bool | None = None


class Verdicts(BaseModel):
    """`then`: of a kept event, when it was scored; `now`: by the serving version, if its schema reads the
    record."""

    then: EventVerdict | None = None
    now: EventVerdict | None = None


class PastEvent(BaseModel):
    """Another event of the same id; `verdict`: what analysts said of its record."""

    event_id: str
    at: str
    score: float
    percentile: float
    anomaly: bool
    model_version: str
    verdict: Verdict | None = None


class Said(BaseModel):
    """What one analyst said. `stands`: it counts now."""

    feedback_id: str
    at: str
    label: str
    analyst: str
    stands: bool
    class_: str | None = Field(default=None, serialization_alias="class")
    comment: str | None = None


class SkipNote(BaseModel):
    at: str
    analyst: str
    key: str
    reason: str


class EventView(BaseModel):
    """`source`: whether it is a kept event, a row of a model's reference, or a record whose label waits for a
    second opinion. `group`: the nearest normal group of the serving model. `own` is what the analyst said;
    `opinions`, what others said, and `judged`, what all that adds up to, are there once he has. `skips` are
    for operators. `snoozed`: nobody is handed the record before then."""

    event_id: str
    source: Source
    model: str
    at: str
    id: str | None = None
    record: dict[str, Any]
    kept: dict[str, str] | None = None
    probability: float
    verdict: Verdicts
    group: dict[str, Any] | None = None
    reasons: list[dict[str, Any]] | None = None
    history: list[PastEvent]
    own: list[Said]
    opinions: list[Said] | None = None
    judged: Verdict | None = None
    skipped: int
    skips: list[SkipNote] | None = None
    snoozed: Snoozed | None = None


@router.get("/{event_id}", response_model_exclude_none=True)
async def get_event(
    request: Request,
    event_id: str,
    caller: Annotated[Caller, needs("feedback")],
    model: str = "default",
    analyst: Annotated[
        str | None, Query(description="Who reviews, one of the key's; by default as in POST /claims.")
    ] = None,
) -> EventView:
    """What there is to know of one record before it is judged, and once it is, what others said of it."""
    services = services_of(request)
    loaded = await model_of(request, model)
    holder = holder_of(caller, analyst)
    in_force, versions = services.policies.of(model), versions_of(request, model)
    ground = services.follower.ground(loaded)

    def look(connection: sa.Connection) -> tuple[FoundEvent, RecordContext, str, str]:
        found = review.need(connection, services.log, model, event_id, versions, caller.lines)
        then = policies.at(connection, ground, found.event.at).budget
        now = in_force.policy.budget if in_force else policies.at(connection, ground, None).budget
        return found, review.read(connection, services.log, found.event, holder), then, now

    found, known, budget_then, budget_now = await services.log.seen(look)
    event = found.event
    (assessed,) = await assess(loaded, [event.record], caller.name)
    return EventView(
        event_id=event.event_id,
        source=found.source,
        model=model,
        at=iso(event.at),
        id=event.record_id,
        record=event.record,
        kept=event.kept,
        probability=event.probability,
        verdict=Verdicts(
            then=_then(event, budget_then) if found.source == "event" else None,
            now=None if assessed is None else _now(assessed, loaded, budget_now),
        ),
        group=None if assessed is None else _group(assessed, loaded),
        reasons=None if assessed is None else msgspec.to_builtins(assessed.reasons),
        history=[
            PastEvent(
                event_id=past.event.event_id,
                at=iso(past.event.at),
                score=past.event.score,
                percentile=past.event.percentile,
                anomaly=past.event.anomaly,
                model_version=past.event.model_version,
                verdict=past.verdict,
            )
            for past in known.history
        ],
        own=_said(known.own),
        opinions=None if known.others is None else _said(known.others),
        judged=known.verdict,
        skipped=known.skipped,
        skips=_skips(known) if "operate" in caller.roles else None,
        snoozed=None if known.snooze is None else Snoozed.of(known.snooze),
    )


def _then(event: Event, budget: str) -> EventVerdict:
    return EventVerdict(
        anomaly=event.anomaly,
        percentile=event.percentile,
        score=event.score,
        model_version=event.model_version,
        budget=budget,
    )


def _now(found: Assessed, model: LoadedModel, budget: str) -> EventVerdict:
    return EventVerdict(
        anomaly=found.anomaly,
        percentile=found.percentile,
        score=found.score,
        model_version=model.ref.version,
        budget=budget,
        novel=found.novel or None,
        novel_distance=found.novel_distance or None,
    )


def _group(found: Assessed, model: LoadedModel) -> dict[str, Any] | None:
    core = model.manifest.core
    described: dict[str, Any] | None = msgspec.to_builtins(
        describe(core.features, core.groups, found.prototype)
    )
    return described


def _said(opinions: Sequence[SaidLabel]) -> list[Said]:
    return [
        Said(
            feedback_id=label.feedback_id,
            at=iso(label.at),
            label=label.label,
            analyst=label.analyst,
            stands=stands,
            class_=label.class_,
            comment=label.comment,
        )
        for label, stands in ((one.label, one.stands) for one in opinions)
    ]


def _skips(known: RecordContext) -> list[SkipNote]:
    return [
        SkipNote(at=iso(one.at), analyst=one.analyst, key=one.actor, reason=one.reason) for one in known.skips
    ]

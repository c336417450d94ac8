"""Counts over windows for callers without a stream: `/score` keeps no state, so they ask here first."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request
from msgspec import Meta, Raw
from pydantic import BaseModel

from nearnorm.models.aggregates.declaration import Aggregates
from nearnorm.models.aggregates.events import Uncountable
from nearnorm.models.aggregates.key_events import KeyedEvent, Row
from nearnorm.service import counting
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, described, model_of, needs, read, services_of
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.scoring.rows import drawn

router = APIRouter(prefix="/aggregates", tags=["scoring"])


class AggregatesRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`records` in the order they came, with the columns that are counted from. `count`: false only looks."""

    records: Annotated[list[dict[str, Raw]], Meta(min_length=1, max_length=counting.MOST_EVENTS)]
    model: str = "default"
    count: bool = True


class AggregatesAnswer(BaseModel):
    """The `version` whose declaration it is, and of each record its numbers, by feature: null where its key
    is missing, or there was no last one."""

    model: str
    version: str
    results: list[dict[str, float | int | None]]


@router.post("", openapi_extra=described(AggregatesRequest))
async def post_aggregates(request: Request, caller: Annotated[Caller, needs("score")]) -> AggregatesAnswer:
    """What the model's declared aggregates are of each record: put them into it, and send it to /score.

    Each record is counted, too, once by its id and time: asked again, it has the same numbers."""
    sent = read(await body_of(request), AggregatesRequest)
    model = await model_of(request, sent.model)
    aggregates = model.manifest.core.aggregates
    if aggregates is None:
        raise InvalidRequest(
            f"model {sent.model!r} counts nothing over windows: its training declared no [aggregates]",
            field="model",
        )
    events = _events(sent.records, aggregates)
    drawn(model, len(events), caller.meter)
    ledger, name = services_of(request).ledger, sent.model
    rows: list[Row]
    if sent.count:
        rows = (await ledger.written(lambda c: counting.count_in(c, name, aggregates, events))).rows
    else:
        rows = await ledger.seen(lambda c: counting.look_up(c, name, aggregates, events))
    results = [dict(zip(aggregates.features, row, strict=True)) for row in rows]
    return AggregatesAnswer(model=name, version=model.ref.version, results=results)


def _events(records: list[dict[str, Raw]], aggregates: Aggregates) -> list[KeyedEvent]:
    """Raises InvalidRequest, MalformedBody: all of them are counted, or none."""
    events = []
    for index, record in enumerate(records):
        try:
            events.append(counting.event_of_sent(record, aggregates))
        except Uncountable as problem:
            raise InvalidRequest(
                f"records.{index}.{problem.field}: {problem.detail}", field=f"records.{index}.{problem.field}"
            ) from None
    return events

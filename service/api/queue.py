"""What to review next."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import needs, services_of
from nearnorm.service.feedback import queue
from nearnorm.service.feedback.queue import Pick
from nearnorm.service.ids import iso
from nearnorm.service.serving.registry import Registry

router = APIRouter(prefix="/queue", tags=["feedback"])


class QueueItem(BaseModel):
    """`why` it is here; `probability` is that of a record like it being kept, for estimates without bias."""

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
    id: str | None = None


class QueuePage(BaseModel):
    """`next` is the cursor of the page after this one."""

    queue: list[QueueItem]
    next: str | None = None


@router.get("", response_model_exclude_none=True)
async def get_queue(
    request: Request,
    _: Annotated[Caller, needs("feedback")],
    model: str = "default",
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: str | None = None,
) -> QueuePage:
    """Kept events that nobody has judged: the strangest, the uncertain, and some at random."""
    services = services_of(request)
    registry: Registry = request.app.state.registry
    share = registry.get(model).ranks.policy.budget
    begin = queue.read_cursor(cursor)
    picks, end = await services.ledger.seen(
        lambda c: queue.review(c, model, 100.0 * (1.0 - share), limit, begin)
    )
    return QueuePage(queue=[_item(pick) for pick in picks], next=queue.write_cursor(end) if end else None)


def _item(pick: Pick) -> QueueItem:
    event = pick.event
    return QueueItem(
        event_id=event.event_id,
        why=pick.why,
        probability=event.probability,
        id=event.record_id,
        at=iso(event.at),
        score=event.score,
        percentile=event.percentile,
        anomaly=event.anomaly,
        prototype=event.prototype,
        model_version=event.model_version,
        record=event.record,
    )

"""Erasure, and the audit trail."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from msgspec import UNSET, UnsetType
from pydantic import BaseModel

from nearnorm.service.access import erasure
from nearnorm.service.access.erasure import Reach
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, described, needs, read, services_of
from nearnorm.service.api.models import versions_alone_of
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.places import NamedPlaces
from nearnorm.service.serving.registry import Registry

router = APIRouter(tags=["privacy"])


class ForgetRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Exactly one of them. `event_id` is that of a reference row, as `GET /queue` offers it."""

    record_id: str | int | UnsetType = UNSET
    event_id: str | UnsetType = UNSET
    analyst: str | UnsetType = UNSET


class Forgotten(BaseModel):
    """`counted`: keys of which something was kept to count over windows, and is not any more."""

    events: int
    labels: int
    counted: int


class AuditEntry(BaseModel):
    """`detail` depends on the action."""

    number: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class Trail(BaseModel):
    """Newest first; `next` is the cursor of the page after this one."""

    audit: list[AuditEntry]
    next: str | None = None


@router.post(
    "/forget", openapi_extra=described(ForgetRequest, one_of=(("record_id",), ("event_id",), ("analyst",)))
)
async def forget(request: Request, caller: Annotated[Caller, needs("operate")]) -> Forgotten:
    """Erase a record's features from events and labels, or an analyst's name and comments. For good."""
    sent = read(await body_of(request), ForgetRequest)
    services = services_of(request)
    record_id, event_id, analyst = sent.record_id, sent.event_id, sent.analyst
    if [record_id, event_id, analyst].count(UNSET) != 2:
        raise InvalidRequest("send one of `record_id`, `event_id` and `analyst`")
    reach = Reach(caller.lines, await versions_alone_of(request, caller.lines))
    if record_id is not UNSET:
        id_ = str(record_id)
        erased = await services.ledger.threaded(
            lambda: erasure.forget_record(services.ledger, id_, caller.name, services.log.forgetting, reach)
        )
    elif event_id is not UNSET:
        row = str(event_id)
        erased = await services.ledger.threaded(
            lambda: erasure.forget_reference_row(services.ledger, row, caller.name, reach)
        )
    else:
        name = str(analyst)
        erased = await services.ledger.threaded(
            lambda: erasure.forget_analyst(services.ledger, name, caller.name, reach.lines)
        )
    await services.ledger.threaded(services.follower.refresh)
    return Forgotten(events=erased.events, labels=erased.labels, counted=erased.counted)


@router.get("/audit", response_model_exclude_none=True)
async def get_audit(
    request: Request,
    caller: Annotated[Caller, needs("operate")],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Trail:
    """Who labelled, changed the policy, made or revoked keys, activated or erased."""
    rows = await services_of(request).ledger.seen(lambda c: audit.page(c, limit, cursor, caller.lines))
    registry: Registry = request.app.state.registry
    entries = [
        AuditEntry(**{**row, "at": iso(row["at"]), "detail": _told(row["detail"], registry.places)})
        for row in rows
    ]
    more = len(entries) == limit and entries[-1].number > 1
    return Trail(audit=entries, next=str(entries[-1].number) if more else None)


def _told(detail: dict[str, Any], places: NamedPlaces) -> dict[str, Any]:
    """What failed may have named places of this machine."""
    return {name: places.named(value) if isinstance(value, str) else value for name, value in detail.items()}

"""Analysts: how far they agree, and quarantine."""

from typing import Annotated

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from nearnorm.service.access.keyring import Caller, check_sees_every
from nearnorm.service.api.dependencies import Why, body_of, check_model, described, needs, read, services_of
from nearnorm.service.feedback import analysts
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.ledger.tables.feedback.analysts import Tally, tallies
from nearnorm.service.ledger.tables.feedback.quarantine import LabellerKind, Quarantine

router = APIRouter(prefix="/analysts", tags=["analysts"])

Model = Annotated[
    str | None,
    Query(description="The only model that it holds in. Without: every one, for a key that sees all."),
]
By = Annotated[LabellerKind, Query(description="Whether `name` is an analyst's, or that of an API key.")]


class Analyst(BaseModel):
    """`disagreement`: the contradicted share of the records that another analyst judged too. `doubted`:
    records that they labelled against the model, of which `confirmed` were confirmed since."""

    analyst: str
    keys: list[str]
    labels: int
    records: int
    compared: int
    contradicted: int
    doubted: int
    confirmed: int
    disagreement: float | None = None
    first_at: str
    last_at: str


class InQuarantine(BaseModel):
    """`model`: the one that it holds in; without: every one."""

    kind: LabellerKind
    name: str
    at: str
    by: str
    why: str
    model: str | None = None


class AnalystPage(BaseModel):
    """The most contradicted first; `next` is the cursor of the page after this one."""

    analysts: list[Analyst]
    quarantine: list[InQuarantine]
    next: str | None = None


class QuarantineRequest(msgspec.Struct, forbid_unknown_fields=True):
    why: Why


class QuarantineChanged(BaseModel):
    """`records` were judged by them; `job_id` is a training that is done again without."""

    kind: LabellerKind
    name: str
    records: int
    job_id: str | None = None


@router.get("", response_model_exclude_none=True)
async def list_analysts(
    request: Request,
    caller: Annotated[Caller, needs("operate")],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> AnalystPage:
    """Who labelled, how often others contradict them, and who is in quarantine."""
    return await tallied(request, caller, limit, cursor)


async def tallied(request: Request, caller: Caller, limit: int, cursor: int) -> AnalystPage:
    """A page of analysts, and all who are in quarantine; of what was said in the models that the caller sees.

    Of quarantine that holds in every model those are told who see all.
    """
    lines = caller.lines

    def seen(connection: sa.Connection) -> tuple[list[Tally], list[Quarantine]]:
        in_force = quarantine.every(connection) if lines.is_every else []
        of_lines = quarantine.of_lines(connection, lines)
        return tallies(connection, limit + 1, cursor, lines), in_force + of_lines

    found, in_force = await services_of(request).ledger.seen(seen)
    return AnalystPage(
        analysts=[_with_share(tally) for tally in found[:limit]],
        quarantine=[
            InQuarantine(kind=q.kind, name=q.name, at=iso(q.at), by=q.actor, why=q.why, model=q.model)
            for q in in_force
        ],
        next=str(cursor + limit) if len(found) > limit else None,
    )


@router.post(
    "/{name:path}/quarantine", response_model_exclude_none=True, openapi_extra=described(QuarantineRequest)
)
async def post_quarantine(
    request: Request,
    name: str,
    caller: Annotated[Caller, needs("operate")],
    by: By = "analyst",
    model: Model = None,
) -> QuarantineChanged:
    """Their labels and retractions stop counting at once, and the next model forgets them."""
    why = read(await body_of(request), QuarantineRequest).why
    return await silenced(request, caller, by, name, why, model)


async def silenced(
    request: Request, caller: Caller, by: LabellerKind, name: str, why: str, model: str | None
) -> QuarantineChanged:
    """Put somebody in quarantine, for all replicas.

    Raises Forbidden, UnknownModel, InvalidRequest, NotFound, Conflict.
    """
    _check(request, caller, model)
    services = services_of(request)
    rule = services.rule
    changed = await services.ledger.written(
        lambda c: analysts.put(c, by, name, why, caller.name, rule, model)
    )
    await services.ledger.threaded(services.follower.refresh)
    return QuarantineChanged.model_validate(changed, from_attributes=True)


@router.delete("/{name:path}/quarantine", response_model_exclude_none=True)
async def delete_quarantine(
    request: Request,
    name: str,
    caller: Annotated[Caller, needs("operate")],
    by: By = "analyst",
    model: Model = None,
    why: Annotated[
        str,
        Query(
            description="The reason, for the audit trail.",
            # described only: `release` refuses it in better words
            json_schema_extra={"maxLength": analysts.LONGEST_WHY, "pattern": r"^[^\x00]*$"},
        ),
    ] = "",
) -> QuarantineChanged:
    """Their labels count again, as if they had always done."""
    return await heard_again(request, caller, by, name, why, model)


async def heard_again(
    request: Request, caller: Caller, by: LabellerKind, name: str, why: str, model: str | None
) -> QuarantineChanged:
    """End somebody's quarantine, for all replicas.

    Raises Forbidden, UnknownModel, InvalidRequest, NotFound.
    """
    _check(request, caller, model)
    services = services_of(request)
    changed = await services.ledger.written(lambda c: analysts.release(c, by, name, why, caller.name, model))
    await services.ledger.threaded(services.follower.refresh)
    return QuarantineChanged.model_validate(changed, from_attributes=True)


def _check(request: Request, caller: Caller, model: str | None) -> None:
    """Quarantine in every model is for who sees all."""
    if model is None:
        check_sees_every(caller, "quarantine without a model")
    else:
        check_model(request, model)


def _with_share(tally: Tally) -> Analyst:
    return Analyst(
        analyst=tally.analyst,
        keys=tally.keys,
        labels=tally.labels,
        records=tally.records,
        compared=tally.compared,
        contradicted=tally.contradicted,
        doubted=tally.doubted,
        confirmed=tally.confirmed,
        disagreement=round(tally.contradicted / tally.compared, 4) if tally.compared else None,
        first_at=iso(tally.first_at),
        last_at=iso(tally.last_at),
    )

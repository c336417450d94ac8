"""How many alerts there may be: seen, changed, undone."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    body_of,
    described,
    model_of,
    needs,
    read,
    services_of,
)
from nearnorm.service.feedback.figures import budget_curve
from nearnorm.service.feedback.figures.budget_curve import BudgetCurve, BudgetKind
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.policies import Change, InForce
from nearnorm.service.verdict.solve import Ground

router = APIRouter(prefix="/policy", tags=["policy"])

Step = Callable[[sa.Connection, Ground], tuple[InForce, InForce]]


class UndoRequest(msgspec.Struct, forbid_unknown_fields=True):
    model: str = "default"


@router.get("")
async def get_policy(
    request: Request, _: Annotated[Caller, needs(None)], model: str = "default"
) -> dict[str, Any]:
    """The budget in force: what it promises, what is forecast, and what was really raised. A figure is null
    until it is known: `missing` says what it takes."""
    return {"model": model, "policy": await in_force_of(request, await model_of(request, model))}


async def in_force_of(request: Request, loaded: LoadedModel) -> dict[str, Any]:
    """What is in force, and as `previous` what an undo would put back."""
    services, model = services_of(request), loaded.ref.name

    def seen(connection: sa.Connection) -> tuple[InForce, PolicyVersion | None]:
        ground = services.follower.ground(loaded)
        found = policies.current(connection, ground, services.policies.of(model))
        return found, policies.beneath(connection, ground)

    in_force, before = await services.ledger.seen(seen)
    services.follower.adopt(loaded, in_force)  # what is told is in force
    told = in_force.as_dict()
    if before is not None:
        told["previous"] = {"version": before.version, "budget": before.budget}
    return told


@router.get("/curve")
async def get_curve(
    request: Request,
    _: Annotated[Caller, needs(None)],
    model: str = "default",
    by: Annotated[
        BudgetKind | None,
        Query(description="Alerts a day, or shares of traffic or of normal. Without it, what is known."),
    ] = None,
) -> dict[str, Any]:
    """What each of some fifty budgets would come to: threshold, alerts a day, precision and recall, with
    intervals. A figure is null until it is known: `missing` says what it takes."""
    loaded = await model_of(request, model)
    found = await curve_of(request, loaded, by)
    return {"model": model, "model_version": loaded.ref.version, **found.as_dict()}


async def curve_of(request: Request, loaded: LoadedModel, by: BudgetKind | None) -> BudgetCurve:
    services = services_of(request)
    known = services.policies.of(loaded.ref.name)
    return await services.ledger.seen(
        lambda c: budget_curve.read(c, services.follower.ground(loaded), known, by)
    )


@router.put("", openapi_extra=described(Change))
async def put_policy(request: Request, caller: Annotated[Caller, needs("operate")]) -> dict[str, Any]:
    """Set a budget: "1% of normal", "1% of traffic", "40 a day", "40 each day" or "precision 50%". What the
    traffic seen cannot give is taken, and told in `warnings`."""
    return await changed(request, caller, read(await body_of(request), Change))


async def changed(request: Request, caller: Caller, change: Change) -> dict[str, Any]:
    """Raises InvalidRequest, UnknownModel."""
    loaded = await model_of(request, change.model)
    return await _changed(request, loaded, lambda c, ground: policies.put(c, change, ground, caller.name))


@router.post("/undo", openapi_extra=described(UndoRequest))
async def undo_policy(request: Request, caller: Annotated[Caller, needs("operate")]) -> dict[str, Any]:
    """Put the policy before this one back."""
    return await undone(request, caller, read(await body_of(request), UndoRequest))


async def undone(request: Request, caller: Caller, sent: UndoRequest) -> dict[str, Any]:
    """Raises Conflict, UnknownModel."""
    loaded = await model_of(request, sent.model)
    return await _changed(request, loaded, lambda c, ground: policies.undo(c, ground, caller.name))


async def _changed(request: Request, loaded: LoadedModel, step: Step) -> dict[str, Any]:
    services = services_of(request)
    ground = services.follower.ground(loaded)
    old, new = await services.ledger.written(lambda c: step(c, ground))
    services.follower.adopt(loaded, new)
    return {"model": loaded.ref.name, "policy": new.as_dict(), "previous": old.as_dict()}

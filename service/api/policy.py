"""How many alerts there may be: seen, changed, undone."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Request

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, described, needs, read, services_of
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.policies import Change, InForce

router = APIRouter(prefix="/policy", tags=["policy"])

Step = Callable[[sa.Connection], tuple[InForce, InForce]]


class UndoRequest(msgspec.Struct, forbid_unknown_fields=True):
    model: str = "default"


@router.get("")
async def get_policy(
    request: Request, _: Annotated[Caller, needs(None)], model: str = "default"
) -> dict[str, Any]:
    """The budget in force, and the alerts that recent traffic lets expect of it."""
    loaded, services = _loaded(request, model), services_of(request)
    in_force = await services.ledger.seen(
        lambda c: policies.current(c, model, loaded.manifest.core, services.policies.of(model))
    )
    return {"model": model, "policy": in_force.as_dict()}


@router.put("", openapi_extra=described(Change))
async def put_policy(request: Request, caller: Annotated[Caller, needs("operate")]) -> dict[str, Any]:
    """Set a budget, such as "0.5%" of normal traffic or "40 a day". It is in force at once."""
    change = read(await body_of(request), Change)
    loaded = _loaded(request, change.model)
    return await _changed(
        request, loaded, lambda c: policies.put(c, change, loaded.manifest.core, caller.name)
    )


@router.post("/undo", openapi_extra=described(UndoRequest))
async def undo_policy(request: Request, caller: Annotated[Caller, needs("operate")]) -> dict[str, Any]:
    """Put the policy before this one back."""
    model = read(await body_of(request), UndoRequest).model
    loaded = _loaded(request, model)
    return await _changed(
        request, loaded, lambda c: policies.undo(c, model, loaded.manifest.core, caller.name)
    )


async def _changed(request: Request, loaded: LoadedModel, step: Step) -> dict[str, Any]:
    services = services_of(request)
    old, new = await services.ledger.written(step)
    services.follower.adopt(loaded, new)
    return {"model": loaded.ref.name, "policy": new.as_dict(), "previous": old.as_dict()}


def _loaded(request: Request, model: str) -> LoadedModel:
    registry: Registry = request.app.state.registry
    return registry.get(model)

"""Models in the store: which there are, what they are, which one serves."""

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.errors import BundleError, StoreError, StoreOutOfReach
from nearnorm.models.store.folder import Activation, no_such_version
from nearnorm.service.access.keyring import Caller, check_sees
from nearnorm.service.api.dependencies import (
    Why,
    audited,
    body_of,
    check_model,
    described,
    needs,
    read,
    services_of,
)
from nearnorm.service.errors import Conflict, NotFound
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.logs import log
from nearnorm.service.places import last_part
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.line_of_version import line_of, versions_of
from nearnorm.service.retraining.line_of_version import lines_of as lines_of_version
from nearnorm.service.serving.registry import Registry

router = APIRouter(prefix="/models", tags=["models"])


class StoredModel(BaseModel):
    """A whole version in the store; `serves` names the models that it is the champion of. `activated` is the
    newest entry of the log about it: since when, by whom, and why."""

    version: str
    serves: list[str]
    activated: Activation | None = None


class ModelPage(BaseModel):
    """Newest first; `next` is the cursor of the page after this one."""

    models: list[StoredModel]
    next: str | None = None


class ActivationRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`model`: where it shall serve; without, `default`, unless the version is known to be of another.
    `reason` is kept with the activation and in the audit trail."""

    model: str | None = None
    reason: Why | None = None


class RollbackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`reason` as in POST /models/{version}/activate."""

    model: str = "default"
    reason: Why | None = None


@router.get("", response_model_exclude_none=True)
async def list_models(
    request: Request,
    caller: Annotated[Caller, needs(None)],
    limit: int = Query(50, ge=1, le=1000),
    cursor: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")] = None,
) -> ModelPage:
    """The versions in the store, newest first; of a key that is bound to models, those of theirs."""
    return await stored(request, caller, limit, cursor)


async def stored(request: Request, caller: Caller, limit: int, cursor: str | None) -> ModelPage:
    """Raises NotFound for a cursor that is no version, or none that the caller sees."""
    registry: Registry = request.app.state.registry
    seen = await _seen(request, caller.lines)
    versions = [
        version
        for version in (await asyncio.to_thread(registry.store.versions))[::-1]
        if seen is None or version in seen
    ]
    start = 0
    if cursor is not None:
        if cursor not in versions:
            raise NotFound("the cursor is no version of the store: start from the first page", field="cursor")
        start = versions.index(cursor) + 1
    sees = caller.lines.sees
    champions = {name: version for name, version in registry.serving().items() if sees(name)}
    log = await asyncio.to_thread(registry.store.activations)
    newest = {entry.version: entry for entry in log if sees(entry.model)}
    page = [
        StoredModel(
            version=v,
            serves=[name for name, champion in champions.items() if champion == v],
            activated=newest.get(v),
        )
        for v in versions[start : start + limit]
    ]
    more = start + limit < len(versions)
    return ModelPage(models=page, next=page[-1].version if more else None)


async def _seen(request: Request, lines: SeenLines) -> frozenset[str] | None:
    """The versions that served in lines, or were trained for them; None: of whoever sees every line, all."""
    if lines.is_every:
        return None
    registry: Registry = request.app.state.registry
    log = await asyncio.to_thread(registry.store.activations)
    return await services_of(request).ledger.seen(lambda c: versions_of(c, log, lines))


async def versions_alone_of(request: Request, lines: SeenLines) -> frozenset[str] | None:
    """Those of them that are of no other line; None as above."""
    if lines.is_every:
        return None
    registry: Registry = request.app.state.registry
    log = await asyncio.to_thread(registry.store.activations)
    return await services_of(request).ledger.seen(
        lambda c: frozenset(
            version
            for version in versions_of(c, log, lines)
            if all(map(lines.sees, lines_of_version(c, log, version)))
        )
    )


async def _check_seen(request: Request, caller: Caller, version: str) -> None:
    """Raises NotFound as for a version that is not there."""
    seen = await _seen(request, caller.lines)
    if seen is not None and version not in seen:
        raise NotFound(no_such_version(version))


@router.get("/{version}")
async def get_model(request: Request, version: str, caller: Annotated[Caller, needs(None)]) -> Manifest:
    """A version's manifest: schema, training data, reference, metrics. Files have no folders here."""
    await _check_seen(request, caller, version)
    registry: Registry = request.app.state.registry
    try:
        bundle = await asyncio.to_thread(registry.store.open, version)
    except StoreOutOfReach:
        raise
    except StoreError as error:
        raise NotFound(registry.places.named(str(error))) from None
    except BundleError as error:  # it names files of this machine
        log.error("a stored version is damaged", version=version, problem=str(error))
        raise Conflict(
            f"version {version} is damaged (`nearnorm models verify` tells how): import its bundle again"
        ) from None
    sources = ("source", "reference_source", "validation_source")
    told = {name: getattr(bundle.manifest, name) for name in sources}
    return bundle.manifest.model_copy(
        update={name: last_part(source) for name, source in told.items() if source is not None}
    )


@router.post(
    "/{version}/activate", response_model_exclude_none=True, openapi_extra=described(ActivationRequest)
)
async def activate(request: Request, version: str, caller: Annotated[Caller, needs("operate")]) -> Activation:
    """Put a version into service, once it has shown that it can serve on this machine."""
    return await activated(request, caller, version, read(await body_of(request), ActivationRequest))


async def activated(request: Request, caller: Caller, version: str, sent: ActivationRequest) -> Activation:
    """Raises NotFound, Conflict, InvalidRequest, Forbidden."""
    registry: Registry = request.app.state.registry
    reason = sent.reason
    await _check_seen(request, caller, version)
    try:
        log = await asyncio.to_thread(registry.store.activations)
        name = await services_of(request).ledger.seen(
            lambda c: line_of(c, log, version, sent.model, caller.lines)
        )
        check_sees(caller, name)
        async with audited(services_of(request), caller, "activate", name, reason) as note:
            return await registry.swaps.activate(version, caller.name, name, note, reason)
    except StoreOutOfReach:
        raise
    except StoreError as error:
        refused = await services_of(request).ledger.seen(lambda c: requests.refusal(c, version))
        raise Conflict(refused) if refused else NotFound(registry.places.named(str(error))) from None
    except BundleError as error:
        raise Conflict(registry.places.named(str(error))) from None


@router.post("/rollback", response_model_exclude_none=True, openapi_extra=described(RollbackRequest))
async def rollback(request: Request, caller: Annotated[Caller, needs("operate")]) -> Activation:
    """Put the champion before this one back."""
    return await rolled_back(request, caller, read(await body_of(request), RollbackRequest))


async def rolled_back(request: Request, caller: Caller, sent: RollbackRequest) -> Activation:
    """Raises Conflict, Forbidden, UnknownModel."""
    check_sees(caller, sent.model)
    check_model(request, sent.model)
    registry: Registry = request.app.state.registry
    name, reason = sent.model, sent.reason
    try:
        async with audited(services_of(request), caller, "rollback", name, reason) as note:
            return await registry.swaps.rollback(caller.name, name, note, reason)
    except StoreOutOfReach:
        raise
    except (StoreError, BundleError) as error:
        raise Conflict(registry.places.named(str(error))) from None

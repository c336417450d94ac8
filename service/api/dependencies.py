"""What the routes of the ledger share: who asks, and a body of bounded size."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer
from pydantic import BaseModel

from nearnorm.service.access.keyring import Caller
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.access.sessions import check_csrf
from nearnorm.service.errors import (
    InvalidRequest,
    LedgerUnavailable,
    MalformedBody,
    UnsupportedMedia,
    misfit,
)
from nearnorm.service.feedback.analysts import LONGEST_WHY
from nearnorm.service.http.body import JSON, kind_of, read_body
from nearnorm.service.http.middleware.query import query_of
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.logs import log
from nearnorm.service.records.limits import MOST_DOCUMENT_VALUES, check_values
from nearnorm.service.services import Services
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry

Shape = TypeVar("Shape", bound=msgspec.Struct)
Schema = dict[str, Any]
Why = Annotated[
    str, msgspec.Meta(pattern=r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$", max_length=LONGEST_WHY)
]
"""A reason, for the audit trail."""

# these are for the OpenAPI document: the keyring and the sessions decide
_bearer = HTTPBearer(auto_error=False)
_header = APIKeyHeader(name="X-API-Key", auto_error=False)
_cookie = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    description="As `POST /session` gives it. A write needs `csrf` of `GET /session` as X-CSRF-Token too.",
)


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def lines_of(request: Request) -> SeenLines:
    """The models that the request's caller is bound to."""
    caller: Caller = request.state.caller
    return caller.lines


async def model_of(request: Request, name: str) -> LoadedModel:
    """What serves a line, for the request's caller, in memory. Raises UnknownModel, also for one he does not
    see; NoModel, DeadlineExceeded."""
    registry: Registry = request.app.state.registry
    return await registry.bring(name, lines_of(request))


def check_model(request: Request, name: str) -> None:
    """Raises UnknownModel as `model_of`; the model may stay out of memory."""
    registry: Registry = request.app.state.registry
    registry.check(name, lines_of(request))


def versions_of(request: Request, name: str) -> frozenset[str]:
    """The versions that a line was ever served by."""
    registry: Registry = request.app.state.registry
    return registry.versions_of(name)


def needs(role: str | None) -> Any:  # noqa: ANN401 - FastAPI's marker has no type
    """A dependency that answers the caller; None is any role.

    Raises Unauthorized, Forbidden, WrongCsrfToken, RateLimited, LedgerUnavailable; after that InvalidRequest
    for an unknown query parameter.
    """

    async def caller(
        request: Request,
        _: Annotated[object, Security(_bearer)] = None,
        __: Annotated[object, Security(_header)] = None,
        ___: Annotated[object, Security(_cookie)] = None,
    ) -> Caller:
        found = await services_of(request).sessions.admit(request.headers.raw, role)
        if request.method not in ("GET", "HEAD"):
            check_csrf(found, request.headers.get("x-csrf-token"))
        request.state.caller = found
        check_query(request)
        return found

    return Depends(caller)


def check_query(request: Request) -> None:
    """Raises InvalidRequest for a parameter that the route does not read."""
    if request.url.query:
        query_of(request.url.query, parameters(request.scope["route"].dependant))


def parameters(of: Dependant) -> set[str]:
    """The query parameters that a route reads, or what it depends on: by itself, or several as one shape."""
    names: set[str] = set()
    for field in of.query_params:
        shape = field.field_info.annotation
        if isinstance(shape, type) and issubclass(shape, BaseModel):
            names |= {one.alias or name for name, one in shape.model_fields.items()}
        else:
            names.add(field.alias)
    return names.union(*map(parameters, of.dependencies))


@asynccontextmanager
async def audited(
    services: Services, caller: Caller, action: str, subject: str, reason: str | None = None
) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Writes down an act outside the ledger before it happens, by the version that it is about.

    What cannot be written down does not happen: LedgerUnavailable. What fails after all is noted as failed.
    """
    why = {} if reason is None else {"reason": reason}
    noted = ""

    async def note(version: str) -> None:
        nonlocal noted
        await services.ledger.written(
            lambda c: audit.note(c, caller.name, action, subject, version=version, **why)
        )
        noted = version

    try:
        yield note
    except Exception as error:
        problem = str(error)
        try:
            if noted:
                await services.ledger.written(
                    lambda c: audit.note_failure(c, caller.name, action, subject, noted, problem)
                )
        except LedgerUnavailable:
            log.error("in the audit trail, and did not happen", action=action, version=noted)
        raise


async def body_of(request: Request, most: int | None = None) -> bytes:
    """At most so many bytes; by default what the caller may send.

    Raises UnsupportedMedia, BodyTooLarge as soon as it is known, MalformedBody, ClientGoneError.
    """
    if most is None:
        most, meter = services_of(request).settings.max_body_bytes, request.state.caller.meter
        most = most if meter is None else meter.body_bytes(most)
    kind = kind_of(request.headers.raw)
    if kind.content != JSON:
        raise UnsupportedMedia(f"this route reads {JSON.decode()}")
    return await read_body(request.receive, kind, most)


def read(body: bytes, shape: type[Shape]) -> Shape:
    """A body's JSON in its shape. Raises MalformedBody, InvalidRequest with the field.

    No body is as good as an empty object, where nothing is required.
    """
    if not body and not _requires(shape):
        return shape()
    check_values(body, MOST_DOCUMENT_VALUES)
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        detail, field = misfit(error)
        raise InvalidRequest(detail, field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBody("the body is no JSON") from None


def described(shape: type, *, one_of: tuple[tuple[str, ...], ...] = (), **inner: Schema) -> dict[str, Any]:
    """For the OpenAPI document: a body that is read by hand.

    Exactly `one_of` these groups of fields is there. `inner` are the items of its lists.
    """
    schema = schema_of(shape, one_of)
    for name, item in inner.items():
        schema["properties"][name]["items"] = item
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": _requires(shape) or bool(one_of), "content": content}}


def schema_of(shape: type, one_of: tuple[tuple[str, ...], ...] = ()) -> Schema:
    schema: Schema = msgspec.json.schema(shape)["$defs"][shape.__name__]
    if one_of:
        schema["oneOf"] = [{"required": list(names)} for names in one_of]
    return schema


def _requires(shape: type) -> bool:
    return any(field.required for field in msgspec.structs.fields(shape))

"""What the routes of the ledger share: who asks, and a body of bounded size."""

from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from service.auth import Caller
from service.bodies import PLAIN_JSON, read_body
from service.decode import refuse_nested
from service.desk import Desk
from service.errors import InvalidRequest, MalformedBody

Shape = TypeVar("Shape", bound=msgspec.Struct)
Schema = dict[str, Any]

_bearer = HTTPBearer(auto_error=False)  # these two are for the OpenAPI document: the keyring decides
_header = APIKeyHeader(name="X-API-Key", auto_error=False)


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def needs(role: str | None) -> Any:  # noqa: ANN401 - FastAPI's marker has no type
    """A dependency that answers the caller; None is any role. Raises Unauthorized, Forbidden, RateLimited."""

    async def caller(
        request: Request,
        _: Annotated[object, Security(_bearer)] = None,
        __: Annotated[object, Security(_header)] = None,
    ) -> Caller:
        headers, desk = request.headers, desk_of(request)
        found = desk.keyring.caller(headers.get("authorization"), headers.get("x-api-key"), role)
        request.state.caller = found
        return found

    return Depends(caller)


async def body_of(request: Request) -> bytes:
    """Raises BodyTooLarge as soon as it is known, ClientGoneError."""
    most, meter = desk_of(request).settings.max_body_bytes, request.state.caller.meter
    if meter is not None:
        most = meter.body_bytes(most)
    return await read_body(request.receive, PLAIN_JSON, most)


def read(body: bytes, shape: type[Shape]) -> Shape:
    """A body's JSON in its shape. Raises MalformedBody, InvalidRequest with the field.

    No body is as good as an empty object, where nothing is required.
    """
    if not body and not _requires(shape):
        return shape()
    refuse_nested(body)
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".") or None
        raise InvalidRequest(f"{field or 'the body'}: {message}", field=field) from None
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

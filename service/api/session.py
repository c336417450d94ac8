"""Signing in: an API key exchanged for a cookie, or a name where no key is needed; logging out."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta
from pydantic import BaseModel

from nearnorm.service.access import session_cookie
from nearnorm.service.access.identity_provider import Person
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, check_query, described, needs, read, services_of
from nearnorm.service.feedback.submission.request import Name
from nearnorm.service.ids import iso, now_ms

router = APIRouter(prefix="/session", tags=["session"])

MOST_BYTES = 16 * 1024
_NO_STORE = {"Cache-Control": "no-store"}


class SignInRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`key` is an API key, where one is needed; `analyst` who sits there, by default the key's name."""

    key: Annotated[str, Meta(min_length=1, max_length=1_000)] | None = None
    analyst: Name | None = None


class WhoAmI(BaseModel):
    """`name` is the API key's, `analyst` who is said to have sent what names nobody. Of a session: when it
    `expires`, and the `csrf` token that its writes need. `models`: those that the key is bound to, if any."""

    name: str
    analyst: str
    roles: list[str]
    models: list[str] | None = None
    expires: str | None = None
    csrf: str | None = None


@router.post("", status_code=201, response_model_exclude_none=True, openapi_extra=described(SignInRequest))
async def post_session(request: Request, response: Response) -> WhoAmI:
    """Sign in: the answer's cookie stands for the key, until it expires or `DELETE /session`."""
    check_query(request)
    sent = read(await body_of(request, MOST_BYTES), SignInRequest)
    return who(await sign_in(request, response, sent.key, sent.analyst))


@router.get("", response_model_exclude_none=True)
async def get_session(response: Response, caller: Annotated[Caller, needs(None)]) -> WhoAmI:
    """Who sends this request, by key or cookie, and what he may do."""
    response.headers.update(_NO_STORE)
    return who(caller)


@router.delete("", status_code=204)
async def delete_session(
    request: Request, response: Response, caller: Annotated[Caller, needs(None)]
) -> None:
    """Log out. Who sends a key has nothing to end."""
    await sign_out(request, response, caller)


async def sign_in(request: Request, response: Response, key: str | None, analyst: str | None) -> Caller:
    """Begin a session, whose cookie the response gives. Raises as `Sessions.sign_in`."""
    return _begun(
        request, response, *await services_of(request).sessions.sign_in(key, analyst, request.headers.raw)
    )


async def sign_in_as(request: Request, response: Response, person: Person) -> Caller:
    """Likewise for somebody whom the identity provider names. Raises as `Sessions.sign_in_as`."""
    return _begun(
        request, response, *await services_of(request).sessions.sign_in_as(person, request.headers.raw)
    )


def _begun(request: Request, response: Response, secret: str, caller: Caller) -> Caller:
    assert caller.session is not None  # noqa: S101 - it has just begun
    seconds = (caller.session.until - now_ms()) // 1000
    https = services_of(request).settings.is_public_by_https
    session_cookie.give(response, request, secret, seconds, https)
    response.headers.update(_NO_STORE)
    return caller


async def sign_out(request: Request, response: Response, caller: Caller) -> None:
    """End the caller's session, and have the browser forget it."""
    await services_of(request).sessions.sign_out(caller)
    session_cookie.take_back(response, request)


def who(caller: Caller) -> WhoAmI:
    session = caller.session
    return WhoAmI(
        name=caller.name,
        analyst=caller.analyst or caller.name,
        roles=sorted(caller.roles),
        models=None if caller.lines.patterns is None else list(caller.lines.patterns),
        expires=iso(session.until) if session else None,
        csrf=session.csrf_token if session else None,
    )

"""Signing in at the organisation's identity provider: to there, and back again."""

import re
import secrets
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Query, Request, Response

from nearnorm.service.access.identity_provider import IdentityProvider
from nearnorm.service.api import session
from nearnorm.service.api.dependencies import services_of
from nearnorm.service.errors import NotFound, ServiceError, Unauthorized
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.sign_in import here, sign_in_form

router = pages()

PATH = "/sign-in/provider"
ATTEMPT = "nearnorm_attempt"
LASTS = 600  # seconds that somebody may take to sign in there
_KEPT = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9%._~-]{1,2000})")


@router.get(PATH)
async def get_provider(request: Request, to: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Leads to the provider; a cookie keeps what its answer has to fit."""
    provider = _provider(request)
    attempt = secrets.token_urlsafe(32)
    try:
        answer = see_other(await provider.address(attempt))
    except ServiceError as error:
        return await sign_in_form(request, to, error)
    kept = f"{attempt}.{quote(here(to), safe='')}"
    _keep(answer, request, kept if _KEPT.fullmatch(kept) else f"{attempt}.%2F", LASTS)
    return answer


@router.get(f"{PATH}/callback")
async def get_callback(
    request: Request, state: str = "", code: str = "", error: str | None = None
) -> Response:
    """Whoever comes back signed in there is signed in here."""
    provider = _provider(request)
    kept = _KEPT.fullmatch(request.cookies.get(ATTEMPT, ""))
    to = here(unquote(kept[2])) if kept else "/"
    try:
        if kept is None:
            raise Unauthorized(
                "the browser brought no sign-in along: it takes cookies, and ten minutes at most; start again"
            )
        if error is not None:
            raise Unauthorized(f"the identity provider signed nobody in ({error[:100]})")
        person = await provider.person(kept[1], state, code)
        answer: Response = see_other(to)
        await session.sign_in_as(request, answer, person)
    except ServiceError as problem:
        answer = await sign_in_form(request, to, problem)
    _keep(answer, request, "", 0)
    return answer


def _provider(request: Request) -> IdentityProvider:
    """Raises NotFound where the settings name none."""
    provider = services_of(request).provider
    if provider is None:
        raise NotFound("no identity provider signs people in here (NEARNORM_OIDC_ISSUER)")
    return provider


def _keep(answer: Response, request: Request, kept: str, seconds: int) -> None:
    secure = services_of(request).settings.is_public_by_https
    answer.set_cookie(ATTEMPT, kept, seconds, path=PATH, secure=secure, httponly=True, samesite="lax")

"""Signing in and out: forms over POST and DELETE /session."""

import re
from typing import Annotated

from fastapi import Query, Request, Response

from nearnorm.service.api import session
from nearnorm.service.api.dependencies import services_of
from nearnorm.service.errors import Forbidden, InvalidRequest, RateLimited, ServiceError, Unauthorized
from nearnorm.service.pages.frame.forms import form_of, sent_form
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.views import VIEWS
from nearnorm.service.pages.frame.visitor import AnyVisitor, Visitor

router = pages()

_HERE = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
"""A path of this service: a link to our sign-in page must lead nowhere else."""


@router.get("/")
async def get_root(visitor: AnyVisitor) -> Response:
    """The first page that the visitor may see. Raises Forbidden where there is none."""
    for view in VIEWS:
        if visitor.sees(view):
            return see_other(view.path)
    raise Forbidden(
        f"the key {visitor.caller.name!r} has the role score alone: pages need one with feedback or operate"
    )


@router.get("/sign-in")
async def get_sign_in(request: Request, to: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Whoever comes; who is signed in already may do so as somebody else."""
    try:
        caller = await services_of(request).sessions.admit(request.headers.raw, None)
    except Unauthorized:
        pass
    else:
        request.state.visitor = Visitor(caller)
    return await sign_in_form(request, to)


@router.post("/sign-in")
async def post_sign_in(request: Request) -> Response:
    """A key, where one is needed, and a name, where one is given."""
    form = await sent_form(request)
    key, analyst, to = form.get("key"), form.get("analyst"), form.get("next") or "/"
    answer = see_other(here(to))
    try:
        await session.sign_in(request, answer, key and key.strip(), analyst)
    except (Unauthorized, InvalidRequest, RateLimited) as error:
        return await sign_in_form(request, to, error, analyst or "", by_key=True)
    return answer


@router.post("/sign-out")
async def post_sign_out(request: Request, visitor: AnyVisitor) -> Response:
    """The session ends, and what the analyst holds is free for others."""
    await form_of(request)
    answer = see_other("/sign-in")
    await session.sign_out(request, answer, visitor.caller)
    return answer


def here(to: str) -> str:
    """Where to go on: a path of this service."""
    return to if _HERE.fullmatch(to) else "/"


async def sign_in_form(
    request: Request, to: str, error: ServiceError | None = None, analyst: str = "", by_key: bool = False
) -> Response:
    """The page, with what went wrong; `by_key`: when somebody signed in by a key, and as whom."""
    services = services_of(request)
    answer = await page(
        request,
        "sign_in.html",
        200 if error is None else error.status,
        to=here(to),
        analyst=analyst,
        error=error,
        wrong_key=by_key and error is not None and error.status == 401,
        at_name=error is not None and error.field == "analyst",
        needs_key=not services.keyring.is_open(),
        provider=services.provider.issuer if services.provider else None,
    )
    answer.headers.update(error.headers if error else {})
    return answer

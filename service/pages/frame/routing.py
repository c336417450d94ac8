"""Routes of pages: their problems are pages too, and who is not signed in is asked to."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from nearnorm.service.errors import InvalidRequest, ServiceError, Unauthorized
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Elsewhere


def pages() -> APIRouter:
    """A router for a view and the acts of its forms; /openapi.json has what they stand for."""
    return APIRouter(include_in_schema=False, route_class=_PageRoute)


def see_other(path: str) -> RedirectResponse:
    """After a form: the browser asks for a page, and its reload sends nothing again."""
    return RedirectResponse(path, 303)


class _PageRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except Elsewhere as error:
                return see_other(error.path)
            except Unauthorized as error:
                if request.method == "GET":
                    return see_other(f"/sign-in?next={quote(_here(request), safe='')}")
                return await _shown(request, error)
            except RequestValidationError as error:
                first = error.errors()[0]
                field = str(first["loc"][-1])
                return await _shown(request, InvalidRequest(f"{field}: {first['msg']}", field=field))
            except ServiceError as error:
                return await _shown(request, error)

        return handler


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


async def _shown(request: Request, error: ServiceError) -> Response:
    answer = await page(request, "problem.html", error.status, error=error)
    answer.headers.update(error.headers)
    return answer

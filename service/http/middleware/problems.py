"""Every route's errors as problem+json, and its requests counted by route template."""

import asyncio

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from nearnorm.models.errors import StoreOutOfReach
from nearnorm.service.errors import (
    PROBLEM,
    InternalError,
    InvalidRequest,
    ServiceError,
    StoreUnavailable,
    of_status,
    problem_body,
)
from nearnorm.service.http.body import ClientGoneError
from nearnorm.service.http.middleware.request_log import SentAnswer, request_ids
from nearnorm.service.logs import log
from nearnorm.service.metrics.counters import Metrics


def install(app: FastAPI) -> None:
    """Map the exceptions of routes and routing to problems."""
    app.add_exception_handler(ServiceError, _service_problem)
    app.add_exception_handler(StoreOutOfReach, _store_problem)
    app.add_exception_handler(HTTPException, _status_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)


def respond(error: ServiceError) -> Response:
    return Response(problem_body(error), error.status, error.headers, PROBLEM)


async def _service_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101 - what the handler is installed for
    return respond(error)


async def _store_problem(request: Request, error: Exception) -> Response:
    log.warning("the model store is out of reach", path=request.scope["path"], problem=str(error))
    told = request.app.state.registry.places.named(str(error))
    return respond(StoreUnavailable(told, headers={"Retry-After": "5"}))


async def _status_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if error.status_code == 405:  # the router names the methods of one of the path's routes
        methods = await asyncio.to_thread(request.app.state.document.methods_of, request.scope["path"])
        headers["Allow"] = ", ".join(methods) or headers.get("Allow", "")
    return respond(of_status(error.status_code, str(error.detail), headers))


async def _validation_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found: list[dict[str, object]] = [
        {"field": ".".join(str(part) for part in e["loc"][1:]) or str(e["loc"][0]), "detail": e["msg"]}
        for e in error.errors()
    ]
    first = found[0]
    return respond(
        InvalidRequest(f"{first['field']}: {first['detail']}", field=str(first["field"]), errors=found)
    )


class AnswerCutOff(Exception):
    """Half an answer is sent and there is no more of it: closing the connection tells the client."""


class MeasuredRequests:
    """Counts requests by route template, and tells of a mistake of ours as a problem too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = SentAnswer(send)
        try:
            await self._app(scope, receive, answer.send)
        except (ClientGoneError, AnswerCutOff):
            pass
        except Exception as error:
            log.error("request failed", path=scope["path"], exc_info=error, **request_ids(scope["headers"]))
            if answer.status:  # half an answer is sent: only closing the connection tells the client
                raise
            await respond(InternalError("see the service's log"))(scope, receive, answer.send)
        finally:
            if answer.status:  # else the client went away, and nothing was answered
                plain = scope["path"] if "endpoint" in scope else "unmatched"  # /openapi.json has no route
                template = str(getattr(scope.get("route"), "path", plain))
                self._metrics.request(scope["method"], template, answer.status, answer.seconds)

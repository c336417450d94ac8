"""What a connection refuses before any route has seen it: the errors, and an application that answers one."""

from typing import Any

from starlette.types import Receive, Scope, Send

from nearnorm.service.errors import HeadersTooLarge, ServiceError, TooManyConnections, problem_response
from nearnorm.service.http.connection.bounds import Bounds


def refusal(error: ServiceError) -> Any:  # noqa: ANN401 - uvicorn's types and Starlette's differ
    """An ASGI application that answers one error, whatever is sent, and closes the connection."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        status, headers, body = problem_response(error)
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def too_many_connections(bounds: Bounds) -> TooManyConnections:
    detail = (
        f"more than {bounds.connections} connections are open: use open ones again, and send again in 1 s"
    )
    return TooManyConnections(detail, headers={"Retry-After": "1"})


def too_many_headers(bounds: Bounds) -> HeadersTooLarge:
    return HeadersTooLarge(f"more than {bounds.headers} headers were sent")


def head_too_large(bounds: Bounds) -> HeadersTooLarge:
    return HeadersTooLarge(f"the head of the request is larger than {bounds.header_bytes} bytes")


def trailers_too_large(bounds: Bounds) -> HeadersTooLarge:
    return HeadersTooLarge(
        f"more than {bounds.headers} fields or {bounds.header_bytes} bytes came between the chunks of "
        "the body or behind it"
    )

"""OpenTelemetry: a server span a request, child of the caller's. Needs the extra `otel`."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_QUERY = "nearnorm.query_string"


class TracedRequests:
    """Spans leave in the background, and those that wait leave before the lifespan ends. None has a query."""

    def __init__(self, app: ASGIApp) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME", "nearnorm")
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._app = OpenTelemetryMiddleware(
            _named_by_route(app), tracer_provider=self._provider, exclude_spans=["receive", "send"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":  # a query holds ids, and a link's token
            scope = {**scope, "query_string": b"", _QUERY: scope["query_string"]}
        await self._app(scope, receive, send)
        if scope["type"] == "lifespan":
            self._provider.shutdown()


def _named_by_route(app: ASGIApp) -> ASGIApp:
    """Spans go by the route's template, which is known once the request is routed: not by path, of which
    there is one for every version and job."""

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        span = trace.get_current_span()
        if _QUERY in scope:
            scope["query_string"] = scope.pop(_QUERY)

        async def name(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", scope["path"])
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
            await send(message)

        await app(scope, receive, name)

    return named

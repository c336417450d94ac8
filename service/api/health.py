"""Health, as orchestrators and operators ask for it: alive, ready, metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from nearnorm.service.access.keyring import sends_key
from nearnorm.service.api.dependencies import services_of
from nearnorm.service.api.openapi.document import Document
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.metrics.multiprocess_metrics import MultiprocessMetrics
from nearnorm.service.metrics.of_lines import OfLines
from nearnorm.service.serving.registry import Registry

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: str = "alive"


class Serving(BaseModel):
    """`provider` is where it runs; null: it is not in memory, and loaded when it is asked for."""

    name: str
    version: str
    provider: str | None


class Readiness(BaseModel):
    """`models`, and their problems, are those that the caller's key sees; without one, all, until a key is
    bound to some. `problems` say what is missing, or why a newer version does not serve."""

    ready: bool
    models: list[Serving]
    problems: list[str]


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers, whatever it serves."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "No model is loaded"}})
async def readyz(request: Request) -> JSONResponse:
    """A model is there and requests can be scored."""
    registry: Registry = request.app.state.registry
    lines, loaded, serving = _told(request), registry.loaded(), registry.serving()
    models = [
        Serving(name=name, version=version, provider=loaded[name].engine.provider if name in loaded else None)
        for name, version in serving.items()
        if lines.sees(name)
    ]
    problems = registry.problems(lines)
    swap_problems = services_of(request).follower.swap_problems
    for name, version in serving.items():
        if lines.sees(name):
            model = loaded.get(name)
            out = swap_problems.get((name, version))  # of one that is not in memory
            problems += model.problems() if model else [out] if out else []
    readiness = Readiness(ready=bool(serving), models=models, problems=problems)
    return JSONResponse(readiness.model_dump(), 200 if serving else 503)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus's text format, of all processes of the service together.

    A key that is bound to models is told of those alone. Where there is one, nobody is told of any model who
    sends no key.
    """
    metrics: Metrics = request.app.state.metrics
    siblings: MultiprocessMetrics | None = request.app.state.siblings
    registry = metrics.registry if siblings is None else await siblings.summed()
    told = OfLines(registry, _told(request), of_service=not sends_key(request.headers.raw))
    return Response(generate_latest(told), media_type=CONTENT_TYPE_LATEST)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> Response:
    """Not in the event loop: the first time it is made."""
    document: Document = request.app.state.document
    return Response(document.as_json(_told(request)), media_type="application/json")


def _told(request: Request) -> SeenLines:
    """Of which models whoever asks is told, with a key or without."""
    return services_of(request).keyring.lines_told(request.headers.raw)

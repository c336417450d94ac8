"""Health, as orchestrators and operators ask for it: alive, ready, metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from nearnorm.service.api.openapi.document import Document
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.metrics.multiprocess_metrics import MultiprocessMetrics
from nearnorm.service.serving.registry import Registry

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: str = "alive"


class Serving(BaseModel):
    name: str
    version: str
    provider: str


class Readiness(BaseModel):
    """`problems` say what is missing, or why a newer version does not serve."""

    ready: bool
    models: list[Serving]
    problems: list[str]


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers, whatever it serves."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "No model is loaded"}})
async def readyz(request: Request) -> JSONResponse:
    """A model is loaded and requests can be scored."""
    registry: Registry = request.app.state.registry
    loaded = registry.loaded()
    models = [
        Serving(name=name, version=model.ref.version, provider=model.engine.provider)
        for name, model in loaded.items()
    ]
    problems = registry.problems() + [problem for model in loaded.values() for problem in model.problems()]
    readiness = Readiness(ready=bool(models), models=models, problems=problems)
    return JSONResponse(readiness.model_dump(), 200 if models else 503)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus's text format, of all processes of the service together."""
    metrics: Metrics = request.app.state.metrics
    siblings: MultiprocessMetrics | None = request.app.state.siblings
    registry = metrics.registry if siblings is None else await siblings.summed()
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> Response:
    """Not in the event loop: the first time it is made."""
    document: Document = request.app.state.document
    return Response(document.as_json(), media_type="application/json")

"""The application: what there is, in which order it starts and stops. Nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from nearnorm import __version__
from nearnorm.models.errors import NearnormError
from nearnorm.service.api import (
    aggregates,
    analysts,
    drift,
    health,
    jobs,
    models,
    overview,
    policy,
    privacy,
    session,
    webhooks,
)
from nearnorm.service.api.openapi.document import Described, Document
from nearnorm.service.api.review import (
    alerts,
    claims,
    event_list,
    events,
    feedback,
    groups,
    queue,
    queue_groups,
    skips,
    snoozes,
)
from nearnorm.service.http.middleware import problems
from nearnorm.service.http.middleware.cross_site import CrossSiteProtection, CrossSiteRules, with_cors
from nearnorm.service.http.middleware.head_requests import HeadRequests
from nearnorm.service.interfaces.open_inference import description
from nearnorm.service.interfaces.open_inference.endpoint import OpenInference
from nearnorm.service.interfaces.open_inference.paths import is_ours
from nearnorm.service.logs import log
from nearnorm.service.metrics.multiprocess_metrics import MultiprocessMetrics
from nearnorm.service.pages import docs, routes
from nearnorm.service.pages.frame import static_files
from nearnorm.service.replica import Replica
from nearnorm.service.scoring.endpoint import ScoreEndpoint
from nearnorm.service.scoring.problems import PATH
from nearnorm.service.settings import Settings


class Application(FastAPI):
    """The routes, and before them what scores: a router's way costs more than the scoring of a record."""

    score: ScoreEndpoint
    open_inference: OpenInference
    entry: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.entry(scope, receive, send)

    async def by_path(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await self.score(scope, receive, send)
        elif scope["type"] == "http" and is_ours(scope["path"]):
            await self.open_inference(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings, siblings: MultiprocessMetrics | None = None) -> Application:
    """The whole service; `siblings` are the other processes on its port, whose metrics it tells too.

    Its lifespan raises NearnormError when it must not start.
    """
    replica = Replica(settings, siblings.lines if siblings else None)
    metrics, services, registry = replica.metrics, replica.services, replica.registry

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            try:
                await opened.enter_async_context(replica.running(is_listening=True))
                opened.push_async_callback(app.score.close)
                if siblings is not None:
                    opened.push_async_callback(siblings.close)
                    await siblings.open(metrics.registry)
            except Exception as error:
                app.state.startup_problem = in_one_sentence(error)  # for the command line
                raise
            yield

    app = Application(title="Nearnorm", version=__version__, lifespan=lifespan, openapi_url=None)
    forms = routes.FORMS if settings.pages else frozenset[str]()
    rules = CrossSiteRules(settings, services.keyring.is_open, forms)
    app.score = ScoreEndpoint(
        registry, services.keyring, rules, replica.memory, settings, metrics, services.background
    )
    app.open_inference = OpenInference(registry, services.keyring, rules, metrics, app.score.steps)
    app.entry = with_cors(app.by_path, settings)
    app.state.startup_problem = "the service did not start: see its log"
    app.state.services = services
    app.state.registry = registry
    app.state.metrics = metrics
    app.state.figures = replica.figures
    app.state.siblings = siblings
    app.include_router(health.router)
    for room in (
        aggregates,
        drift,
        models,
        feedback,
        groups,
        analysts,
        jobs,
        queue,
        queue_groups,
        claims,
        skips,
        alerts,
        snoozes,
        event_list,
        events,
        overview,
        policy,
        privacy,
        session,
        webhooks,
    ):
        _answer(app, room.router)
    if settings.pages:
        _answer(app, routes.router)
    if settings.docs:
        _answer(app, docs.router)
    if settings.pages or settings.docs:
        _answer(app, static_files.router)
    problems.install(app)
    app.add_middleware(CrossSiteProtection, rules=rules)
    app.add_middleware(problems.MeasuredRequests, metrics=metrics)
    app.add_middleware(HeadRequests)
    app.state.document = app.openapi = Document(app, registry, settings, _beside)  # type: ignore[method-assign]
    return app


def _answer(app: FastAPI, router: APIRouter) -> None:
    """With a router's routes as they are: to include it makes each anew, a fifth of a second altogether."""
    app.router.routes.extend(router.routes)


def _beside() -> Described:
    return Described(description.paths(), description.schemas(), description.bodies)


def in_one_sentence(error: Exception) -> str:
    if isinstance(error, NearnormError):
        return str(error)
    log.error("the service cannot start", exc_info=error)
    return f"the service cannot start, see its log: {type(error).__name__}: {error}"

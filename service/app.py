"""The application: what there is, in which order it starts and stops. Nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from nearnorm import __version__
from nearnorm.models.errors import NearnormError
from nearnorm.service.api import (
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
from nearnorm.service.metrics.collectors import Figures
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.metrics.drift_collector import DriftCollector
from nearnorm.service.metrics.multiprocess_metrics import MultiprocessMetrics
from nearnorm.service.metrics.store_collector import StoreCollector
from nearnorm.service.pages import docs, routes
from nearnorm.service.pages.frame import static_files
from nearnorm.service.scoring.endpoint import PATH, ScoreEndpoint
from nearnorm.service.scoring.explain import told_reasons
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.services import Services
from nearnorm.service.serving.registry import Registry
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
    metrics = Metrics()
    services = Services(settings)
    registry = Registry(
        settings.open_store(), settings, metrics, services.background, services.follower.prepare
    )
    figures = Figures(registry, services.log, services.policies, services.background, services.verdicts)
    for collector in (DriftCollector(registry), figures, StoreCollector(services.store_watch)):
        metrics.registry.register(collector)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            try:
                opened.push_async_callback(asyncio.to_thread, services.close)
                await asyncio.to_thread(services.start, registry.loaded, figures, registry.activation_log)
                opened.push_async_callback(registry.close)
                opened.push_async_callback(app.score.close)
                await registry.start()
                services.store_watch.start(registry.store)
                services.start_webhooks(registry, told_reasons(asyncio.get_running_loop(), registry.loaded))
                if siblings is not None:
                    opened.push_async_callback(siblings.close)
                    await siblings.open(metrics.registry)
            except Exception as error:
                app.state.startup_problem = _in_one_sentence(error)  # for the command line
                raise
            yield

    app = Application(title="Nearnorm", version=__version__, lifespan=lifespan, openapi_url=None)
    memory = Memory(services.log, services.policies, services.verdicts)
    forms = routes.FORMS if settings.pages else frozenset[str]()
    rules = CrossSiteRules(settings, services.keyring.is_open, forms)
    app.score = ScoreEndpoint(
        registry, services.keyring, rules, memory, settings, metrics, services.background
    )
    app.open_inference = OpenInference(registry, services.keyring, rules, metrics, app.score)
    app.entry = with_cors(app.by_path, settings)
    app.state.startup_problem = "the service did not start: see its log"
    app.state.services = services
    app.state.registry = registry
    app.state.metrics = metrics
    app.state.figures = figures
    app.state.siblings = siblings
    app.include_router(health.router)
    for room in (
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
        app.include_router(room.router)
    if settings.pages:
        app.include_router(routes.router)
    if settings.docs:
        app.include_router(docs.router)
    if settings.pages or settings.docs:
        app.include_router(static_files.router)
    problems.install(app)
    app.add_middleware(CrossSiteProtection, rules=rules)
    app.add_middleware(problems.MeasuredRequests, metrics=metrics)
    app.add_middleware(HeadRequests)
    app.state.document = app.openapi = Document(app, registry, settings, _beside)  # type: ignore[method-assign]
    return app


def _beside() -> Described:
    return Described(description.paths(), description.schemas(), description.bodies)


def _in_one_sentence(error: Exception) -> str:
    if isinstance(error, NearnormError):
        return str(error)
    log.error("the service cannot start", exc_info=error)
    return f"the service cannot start, see its log: {type(error).__name__}: {error}"

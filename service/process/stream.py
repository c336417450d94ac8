"""`nearnorm stream` as a process: the streamer, and a small port that says how it fares."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvicorn
from fastapi import FastAPI

from nearnorm.models.errors import NearnormError
from nearnorm.service.api import health
from nearnorm.service.app import in_one_sentence
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.interfaces.kafka.stream import Stream
from nearnorm.service.logs import configure_logs, log
from nearnorm.service.process.listener import listen, url_of
from nearnorm.service.process.server import Server, not_the_startup
from nearnorm.service.replica import Replica
from nearnorm.service.serving.memory.malloc import share_heap
from nearnorm.service.settings import Settings


def run(settings: Settings, options: StreamOptions, port: int) -> None:
    """Stream until told to stop. Raises NearnormError when it cannot start."""
    share_heap()
    configure_logs()
    listener = listen(settings.host, port)
    log.info("health and metrics", url=url_of(listener))
    app = create_app(settings, options)
    config = uvicorn.Config(app, loop="uvloop", ws="none", lifespan="on", access_log=False, log_config=None)
    logging.getLogger("uvicorn.error").addFilter(not_the_startup)
    server = Server(config, app.state.registry.settled)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn's word for a failed start: told below
        if server.started:
            raise
    finally:
        listener.close()
    if not server.started:
        raise NearnormError(app.state.startup_problem)


def create_app(settings: Settings, options: StreamOptions) -> FastAPI:
    """/healthz, /readyz and /metrics; the streamer lives as long as it does."""
    replica = Replica(settings)
    stream = Stream(settings, options, replica)
    replica.metrics.registry.register(stream.meters)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            try:
                await opened.enter_async_context(replica.running(is_listening=False))
                opened.push_async_callback(stream.close)
                await stream.start()
            except Exception as error:
                app.state.startup_problem = in_one_sentence(error)
                raise
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.startup_problem = "the streamer did not start: see its log"
    app.state.services = replica.services
    app.state.registry = replica.registry
    app.state.metrics = replica.metrics
    app.state.siblings = None
    for path, route in (
        ("/healthz", health.healthz),
        ("/readyz", health.readyz),
        ("/metrics", health.metrics),
    ):
        app.add_api_route(path, route)
    return app

"""One uvicorn process: the app on a port, until SIGTERM or SIGINT; accepted requests are answered first."""

import logging
import math
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from nearnorm.models.errors import NearnormError
from nearnorm.service.app import Application, create_app
from nearnorm.service.http.connection.backpressure import Backpressure
from nearnorm.service.http.connection.bounds import Bounds
from nearnorm.service.http.connection.protocol import fast_http
from nearnorm.service.http.middleware.request_log import LoggedRequests, traced
from nearnorm.service.logs import configure_logs, log
from nearnorm.service.metrics.multiprocess_metrics import MultiprocessMetrics
from nearnorm.service.process.listener import listen, url_of
from nearnorm.service.process.worker_supervisor import WorkerSupervisor, end_with_stdin
from nearnorm.service.serving.memory.malloc import share_heap
from nearnorm.service.serving.memory.settled import Settled
from nearnorm.service.settings import Settings

SWITCH_SECONDS = 0.0005
"""How long one thread makes others wait: by default the event log's writer and the threads that run large
batches hold requests up, and one another, for 5 ms."""


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, settled: Settled) -> None:
        super().__init__(config)
        self._settled = settled

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._settled.begin()
        sys.setswitchinterval(SWITCH_SECONDS)

    def stop(self) -> None:
        self.should_exit = True


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises NearnormError when the service cannot start."""
    share_heap()
    configure_logs()
    listener = listen(settings.host, settings.port)
    log.info("serving", url=url_of(listener))
    keeper = WorkerSupervisor(settings)
    keeper.start()
    try:
        _serve(settings, listener)
    finally:
        keeper.close()
        listener.close()


def run_beside(settings: Settings, number: int, fileno: int, folder: Path) -> None:
    """Serve as one process of several, until told to stop or until the parent has died.

    Raises NearnormError when the service cannot start.
    """
    share_heap()
    configure_logs()
    with socket.socket(fileno=fileno) as listener:
        _serve(settings, listener, MultiprocessMetrics(folder, number))


def _serve(settings: Settings, listener: socket.socket, siblings: MultiprocessMetrics | None = None) -> None:
    app = create_app(settings, siblings)
    asgi = traced(app) if settings.traces else app
    if settings.log_requests:
        asgi = LoggedRequests(asgi)
    config = configured(app, asgi, settings)
    logging.getLogger("uvicorn.error").addFilter(not_the_startup)
    server = Server(config, app.state.registry.settled)
    if siblings is not None:
        end_with_stdin(server.stop)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn's word for a failed start: told below
        if server.started:
            raise
    if not server.started:
        raise NearnormError(app.state.startup_problem)


def configured(app: Application, asgi: ASGIApp, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration; `asgi` is the app, or what is around it and every request has to pass then."""
    bounds, pressure = Bounds.of(settings), Backpressure(app.score.capacity)
    fast = fast_http(bounds, app.score, asgi is not app, pressure, app.state.metrics.refused_connection)
    return uvicorn.Config(
        asgi,
        http=fast if settings.http == "fast" else "httptools",
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=bounds.backlog,
        timeout_keep_alive=math.ceil(settings.idle_seconds),
        timeout_graceful_shutdown=settings.stop_seconds,
    )


def not_the_startup(record: logging.LogRecord) -> bool:
    """uvicorn's traceback of a failed start: the command line tells it in one line instead."""
    return not record.getMessage().startswith(("Traceback", "Application startup failed"))

"""One uvicorn process: the app on a port, until SIGTERM or SIGINT; accepted requests are answered first."""

import gc
import logging
import socket

import uvicorn

from models.errors import ConfigError, NearnormError
from service.app import create_app
from service.connections import guarded
from service.keeper import Keeper
from service.logs import configure_logs, log
from service.requests import LoggedRequests, traced
from service.settings import Settings

BACKLOG = 2048


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # what is there now stays: a full collection that walked it would hold every request up for 50 ms
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises NearnormError when the service cannot start."""
    configure_logs()
    app = create_app(settings)
    asgi = traced(app) if settings.traces else app
    if settings.log_requests:
        asgi = LoggedRequests(asgi)
    listener = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        asgi,
        http=guarded(settings),
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.stop_seconds,
    )
    logging.getLogger("uvicorn.error").addFilter(_not_the_startup)
    host, port = listener.getsockname()[:2]
    server = Server(config)
    log.info("serving", url=f"http://{host}:{port}")
    keeper = Keeper(settings)
    keeper.start()
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn's word for a failed start: told below
        if server.started:
            raise
    finally:
        keeper.close()
        listener.close()
    if not server.started:
        raise NearnormError(app.state.startup_problem)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket: taken before anything is loaded, so that a busy port is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener


def _not_the_startup(record: logging.LogRecord) -> bool:
    """uvicorn's traceback of a failed start: the command line tells it in one line instead."""
    return not record.getMessage().startswith(("Traceback", "Application startup failed"))

"""`nearnorm serve --workers N`: several serving processes on one port, and one that trains.

Each process has a socket of its own on the port, and the system spreads connections over them. This parent
keeps the sockets, so that callers who came while a process died are answered by the one that follows it.
A process reads from a pipe that only we hold: however we die, it ends too.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.logs import configure_logs, log
from nearnorm.service.process.listener import listen, url_of
from nearnorm.service.process.worker_supervisor import LASTING, LEAST_PAUSE, MOST_PAUSE, WorkerSupervisor
from nearnorm.service.settings import PREFIX, Settings

LOOK = 0.05  # seconds
PATIENCE = 60.0  # seconds for the first process to start
GRACE = 5.0  # seconds beyond `stop_seconds`, after which a process is killed


class ServingProcess:
    """One serving process after the other, on one socket."""

    def __init__(self, number: int, listener: socket.socket, settings: Settings, folder: Path) -> None:
        self.number = number
        self.listener = listener
        self.ready = folder / f"{number}.socket"
        self._command = [
            *(sys.executable, "-P", "-m", "nearnorm", "serve-beside"),
            *(str(number), str(listener.fileno()), str(folder)),
        ]
        mine = {"HOST": settings.host, "WORKERS": "1", "WORKER": "off", "SHARED_LIMITS": "true"}
        self._environment = os.environ | {PREFIX + name: value for name, value in mine.items()}
        self._pause = 0.0
        self._started = 0.0
        self._due: float | None = None
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        self._due = None
        self._started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            pass_fds=[self.listener.fileno()],
        )

    def look(self) -> None:
        """Start it again when it has died: at once, and later and later if that does not help."""
        code = self.process.poll()
        if code is None:
            return
        if self._due is None:
            if time.monotonic() - self._started > LASTING:
                self._pause = 0.0
            self._due = time.monotonic() + self._pause
            self._pause = min(max(LEAST_PAUSE, 2 * self._pause), MOST_PAUSE)
            log.error("a serving process ended: it is started again", number=self.number, code=code)
        elif time.monotonic() >= self._due:
            try:
                self.start()
            except OSError as error:  # no memory or no process to be had now
                self._due = time.monotonic() + MOST_PAUSE
                log.error("a serving process cannot be started: tried again", problem=str(error))


def run(settings: Settings) -> None:
    """Serve with `settings.workers` processes until told to stop; accepted requests are answered first.

    Raises SystemExit when the first of them cannot serve, and says why; NearnormError when it hangs, or when
    the system has no process for one of them.
    """
    configure_logs()
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda number, frame: stop.set())
    listeners = _listen(settings)
    log.info("serving", url=url_of(listeners[0]), workers=settings.workers)
    keeper = WorkerSupervisor(settings)
    with tempfile.TemporaryDirectory(prefix="nearnorm-") as folder:
        places = [ServingProcess(i, listener, settings, Path(folder)) for i, listener in enumerate(listeners)]
        running: list[ServingProcess] = []
        try:
            for place in places:
                _start(place)
                running.append(place)
                if place is places[0]:  # it brings the ledger and the store up to date, alone
                    _wait(place, stop)
            keeper.start()
            while not stop.wait(LOOK):
                for place in running:
                    place.look()
        finally:
            for listener in listeners:
                listener.close()
            keeper.close()
            _end(running, settings.stop_seconds + GRACE)


def _start(place: ServingProcess) -> None:
    try:
        place.start()
    except OSError as error:
        raise NearnormError(f"a serving process cannot be started: {error.strerror or error}") from error


def _wait(place: ServingProcess, stop: threading.Event) -> None:
    deadline = time.monotonic() + PATIENCE
    while not place.ready.exists() and not stop.wait(LOOK):
        if place.process.poll() is not None:
            raise SystemExit(2)  # it has said why
        if time.monotonic() > deadline:
            raise NearnormError(f"the first serving process did not start in {PATIENCE:.0f} s")


def _end(places: list[ServingProcess], seconds: float) -> None:
    for place in places:
        place.process.terminate()
    deadline = time.monotonic() + seconds
    for place in places:
        try:
            place.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("a serving process did not end and is killed", number=place.number)
            place.process.kill()
            place.process.wait()


def _listen(settings: Settings) -> list[socket.socket]:
    """Sockets that share the port. Raises ConfigError where somebody else has it."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("workers: this system cannot share a port among processes: start replicas instead")
    with listen(settings.host, settings.port) as alone:  # shared sockets would join another service's
        port = alone.getsockname()[1]
    return [listen(settings.host, port, shared=True) for _ in range(settings.workers)]

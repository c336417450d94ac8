"""The worker beside a service: started with it, started again when it dies, ended with it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from nearnorm.service.logs import log
from nearnorm.service.retraining.attempts.training_process import training_is_installed
from nearnorm.service.settings import Settings

LEAST_PAUSE, MOST_PAUSE = 1.0, 60.0  # seconds before a start, and before one after many deaths
LASTING = 60.0  # seconds after which a worker counts as having started well
LOOK = 0.2
GRACE = 10.0


def end_with_stdin(stop: Callable[[], None]) -> None:
    """In a process that is kept: call `stop` when stdin ends, which is when its keeper dies."""

    def read() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        stop()

    threading.Thread(target=read, name="stdin", daemon=True).start()


class WorkerSupervisor:
    """Exactly one `nearnorm worker` while it is open.

    The worker reads from a pipe that only we hold, and ends when that does: however we die, it goes too.
    """

    def __init__(self, settings: Settings) -> None:
        self._wanted = settings.worker == "auto"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Where training is not installed, say so and do nothing: labels wait for a worker elsewhere."""
        if not self._wanted:
            return
        if training_is_installed():
            self._thread.start()
        else:
            log.warning("labels wait for a worker: the extra training is not installed here")

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(GRACE + 1.0)

    def _keep(self) -> None:
        pause = LEAST_PAUSE  # the first start too: the service's own goes first
        while not self._stop.wait(pause):
            started = time.monotonic()
            try:
                code = self._run()
            except OSError as error:  # no memory or no process to be had now
                pause = min(2 * pause, MOST_PAUSE)
                log.error("the worker cannot be started: tried again", problem=str(error), in_seconds=pause)
                continue
            if code is None:
                return
            pause = LEAST_PAUSE if time.monotonic() - started > LASTING else min(2 * pause, MOST_PAUSE)
            log.error("the worker ended: it is started again", code=code, in_seconds=pause)

    def _run(self) -> int | None:
        """A worker's exit code, or None where it was ended because we are."""
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "nearnorm", "worker", "--beside"],
            stdin=subprocess.PIPE,
        ) as process:
            while process.poll() is None:
                if self._stop.wait(LOOK):
                    process.terminate()
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(GRACE)
                    process.kill()
                    return None
            return process.returncode

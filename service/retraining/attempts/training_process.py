"""A training as a child process: started by its command line, listened to, and ended by its own id.

It leads a process group of its own, so that what it started ends with it. It reads from a pipe that
only we hold: when we die, however suddenly, it sees the end of it and goes too.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from nearnorm.models.errors import NearnormError

TRAINING = (sys.executable, "-P", "-m", "nearnorm.training.loop.retrain")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""By which numpy, torch and onnxruntime are told."""
GRACE = 1.0  # seconds between asking a process to end and ending it
LONGEST_LINE = 2_000
KEPT_LOG = 8_000


class Cancelled(Exception):
    """Somebody asked for the end of the job."""


class Ended(NearnormError):
    """Training ended without a result; the message says why."""


class TrainingProgress(Struct, frozen=True):
    """Where training is, and what it wrote."""

    stage: str = "snapshot"
    progress: float = 0.0
    log: str = ""


def training_is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("torch", "sklearn", "onnx"))


class TrainingProcess:
    """`python -m nearnorm.training.loop.retrain FOLDER`, running."""

    def __init__(self, folder: Path, seconds: float, silence: float, threads: int | None = None) -> None:
        """It may take `seconds` in all, be silent for `silence`, and have so many `threads` in each of its
        libraries (None: as many as they like)."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [*TRAINING, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=None if threads is None else os.environ | dict.fromkeys(THREADS, str(threads)),
        )
        self._seconds, self._silence = seconds, silence
        self._heard = time.monotonic()
        self._deadline = self._heard + seconds
        self._last_error = ""
        self.progress = TrainingProgress()
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._listen, self._listen_to_errors)
        ]
        for reader in self._readers:
            reader.start()

    def wait(self, seconds: float) -> TrainingProgress | None:
        """Where it is after `seconds`, or None once it has ended well. Raises Ended."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            if time.monotonic() > self._deadline:
                raise Ended(
                    f"training took longer than {self._seconds:g} seconds and was ended: "
                    "set NEARNORM_TRAINING_SECONDS, or train on less data"
                ) from None
            if time.monotonic() > self._heard + self._silence:
                raise Ended(
                    f"training hung in {self.progress.stage}: it told of no progress for {self._silence:g} s "
                    "and was ended: set NEARNORM_TRAINING_SILENCE_SECONDS where a step takes longer"
                ) from None
            return self.progress
        for reader in self._readers:
            reader.join(5.0)
        if code == 0:
            return None
        raise Ended(self._why(code))

    def end(self) -> None:
        """End it and all it started, if it still runs."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _why(self, code: int) -> str:
        if code == -signal.SIGKILL:
            return "training was killed (signal 9), as the system does when memory runs out: give it more"
        if code < 0:
            return f"training was ended by signal {-code}"
        if code == 2:
            return self._last_error
        return f"training crashed: {self._last_error or f'exit code {code}'}"

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe, as asked for
        for raw in self._process.stdout:
            self._heard = time.monotonic()
            line = raw.decode(errors="replace").rstrip()[:LONGEST_LINE]
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict) and "stage" in event:
                self.progress = replace(
                    self.progress, stage=str(event["stage"]), progress=float(event["progress"])
                )
            elif isinstance(event, dict) and "warning" in event:
                self._log(f"warning: {event['warning']}")
            else:
                self._log(line)

    def _listen_to_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()[:LONGEST_LINE]
            if line:
                self._last_error = line
                self._log(line)

    def _log(self, line: str) -> None:
        self.progress = replace(self.progress, log=f"{self.progress.log}{line}\n"[-KEPT_LOG:])

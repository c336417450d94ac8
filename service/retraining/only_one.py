"""One worker a home: the others wait until it has ended, however it ends."""

import fcntl
import threading
from pathlib import Path
from typing import IO

from nearnorm.service.logs import log

LOOK = 0.5  # seconds between looks at whether the other has ended


class OnlyOne:
    """The lock of a home: held by the worker that works, let go by the system when it dies."""

    def __init__(self, home: Path, stop: threading.Event) -> None:
        self._home, self._stop = home, stop
        self._file: IO[str] | None = None

    def __enter__(self) -> bool:
        self._home.mkdir(parents=True, exist_ok=True)
        self._file = (self._home / "worker.lock").open("w")
        warned = False
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if not warned:
                    log.info("another worker works for this home: waiting", home=str(self._home))
                warned = True
            if self._stop.wait(LOOK):
                return False

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

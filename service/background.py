"""Background tasks: threads that are started again when they die, and what goes wrong beside the requests.

A task fails in the open: `problems` are part of /readyz, `failures` are a metric, and the log has the
traceback, once for each new problem.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable

from nearnorm.service.logs import log

RESTART_SECONDS = 1.0


class Background:
    """The background tasks of one process, by what they do ("following the ledger")."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self._problems: dict[str, str] = {}

    def problems(self) -> list[str]:
        """What does not work now, a sentence each."""
        return list(self._problems.values())

    def failed(self, task: str, error: Exception) -> None:
        """Note that a task failed; it stands among the problems until the task works again."""
        problem = f"{task} fails: {type(error).__name__}: {error}"
        self.failures[task] += 1
        if self._problems.get(task) != problem:
            self._problems[task] = problem
            log.error("a background task fails", task=task, exc_info=error)

    def waits(self, task: str, what: str) -> None:
        """Note what a task waits for: a problem, and no failure of its own."""
        self._problems[task] = f"{task} waits: {what}"

    def tells(self, task: str, problem: str) -> None:
        """Note what a task found that is none of its own failures; it stands until the task `works`."""
        self._problems[task] = problem

    def works(self, task: str) -> None:
        self._problems.pop(task, None)

    def start_thread(self, task: str, run: Callable[[], None]) -> threading.Thread:
        """A thread that works until `run` returns; should `run` raise, it is called again."""

        def keep() -> None:
            while True:
                try:
                    return run()
                except Exception as error:
                    self.failed(task, error)
                    time.sleep(RESTART_SECONDS)

        thread = threading.Thread(target=keep, name=task, daemon=True)
        thread.start()
        return thread

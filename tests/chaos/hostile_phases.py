"""When a hostile caller is at work during a soak, and what that does to the others."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

MOST_BESIDE_OVER_WITHOUT = 1.5


class HostilePhases:
    """A caller of a process of his own, who does all that he knows, and then nothing for as long."""

    def __init__(self, port: int, key: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.hostile_caller", str(port), key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.phases: list[tuple[float, float]] = []
        """Begin and end of each, by the monotonic clock."""
        self.answers: Counter[str] = Counter()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(180)
            self._process.kill()
            self._process.communicate()

    def _run(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        while not self._over.is_set():
            began = time.monotonic()
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            answered = self._process.stdout.readline()
            ended = time.monotonic()
            self.answers.update(json.loads(answered))
            self.phases.append((began, ended))
            self._over.wait(ended - began)


def beside_over_without(
    latencies: Sequence[tuple[float, float]], phases: Sequence[tuple[float, float]]
) -> tuple[float, float, float]:
    """p99 beside the hostile caller, without him, and the first over the second.

    `latencies` are (when, milliseconds); what came before the first phase does not count.
    """
    when, waited = (np.array(values) for values in zip(*latencies, strict=True))
    begun = when >= phases[0][0]
    beside = np.zeros(len(when), bool)
    for first, last in phases:
        beside |= (when >= first) & (when <= last)
    p99, other = (float(np.quantile(waited[begun & part], 0.99)) for part in (beside, ~beside))
    return p99, other, p99 / other

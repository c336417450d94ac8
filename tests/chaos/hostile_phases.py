"""When a hostile caller is at work during a soak, where, and what that does to those at the service."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, get_args

import numpy as np

MOST_BESIDE_OVER_APART = 1.5

Target = Literal["service", "another"]
"""`another` is a service on the same machine that the others do not use: what it costs them that he is there
is what sharing the machine costs, his own CPU included."""


class Phase(NamedTuple):
    """Begin and end by the monotonic clock."""

    target: Target
    began: float
    ended: float


class HostilePhases:
    """A caller of processes of his own, who does all that he knows, and then nothing for as long, by turns
    to the service and to another one."""

    def __init__(self, doors: Mapping[Target, tuple[int, str]]) -> None:
        """`doors`: port and key of each."""
        self._processes = {
            target: subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.hostile_caller", str(port), key],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for target, (port, key) in doors.items()
        }
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.phases: list[Phase] = []
        self.answers: Counter[str] = Counter()
        """The service's."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(180)
            for process in self._processes.values():
                process.kill()
                process.communicate()

    def _run(self) -> None:
        while True:
            for target, process in self._processes.items():
                began = time.monotonic()
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                answered = process.stdout.readline()
                ended = time.monotonic()
                if target == "service":
                    self.answers.update(json.loads(answered))
                self.phases.append(Phase(target, began, ended))
                if self._over.wait(ended - began):
                    return


class Waits(NamedTuple):
    """p99 in milliseconds while the hostile caller is at the service, at another one, and at neither."""

    beside: float
    apart: float
    without: float


def undisturbed(
    latencies: Sequence[tuple[float, float]], phases: Sequence[Phase]
) -> list[tuple[float, float]]:
    """The (when, milliseconds) while the hostile caller is nowhere."""
    return [
        (when, waited)
        for when, waited in latencies
        if not any(phase.began <= when <= phase.ended for phase in phases)
    ]


def waits(latencies: Sequence[tuple[float, float]], phases: Sequence[Phase]) -> Waits:
    """`latencies` are (when, milliseconds); what came before the first phase does not count."""
    when, waited = (np.array(values) for values in zip(*latencies, strict=True))
    neither = when >= phases[0].began
    of = dict.fromkeys(get_args(Target), np.zeros(len(when), bool))
    for phase in phases:
        within = (when >= phase.began) & (when <= phase.ended)
        of[phase.target] = of[phase.target] | within
        neither &= ~within
    return Waits(*(_p99(waited[part]) for part in (of["service"], of["another"], neither)))


def _p99(waited: np.ndarray) -> float:
    return float(np.quantile(waited, 0.99)) if len(waited) else float("nan")

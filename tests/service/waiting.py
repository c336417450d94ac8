"""Waiting for what a service does by itself, by a number of looks: a busy machine stretches seconds."""

import time
from collections.abc import Callable

import httpx

PAUSE = 0.05


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds; AssertionError where it does not in time.

    A look and the pause after it count as PAUSE, however long they take, so that `seconds` are those of a
    machine with nothing else to do.
    """
    for _ in range(round(seconds / PAUSE)):
        if holds():
            return
        time.sleep(PAUSE)
    raise AssertionError(f"it did not come about within {seconds:g} s")


def quickest(do: Callable[[], object], times: int = 5) -> float:
    """Seconds of the quickest of several: what is held up is slow every time, a busy machine is not."""
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        do()
        seconds.append(time.monotonic() - began)
    return min(seconds)


def logged(client: httpx.Client) -> bool:
    """Whether every kept event is in the ledger, so that GET /queue knows it."""
    return all_logged(client.get("/metrics").text)


def all_logged(metrics: str) -> bool:
    """The same, by what GET /metrics answered."""
    return "\nnearnorm_events_waiting 0.0\n" in metrics

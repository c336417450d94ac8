"""A Ray cluster (extra ray): one that runs, or one on this machine for as long as it takes."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nearnorm.models.errors import ConfigError, NearnormError

_SECONDS_TO_ANSWER = 10.0


@contextmanager
def ray_cluster(address: str | None, workers: int | None, again: str) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at the address; None starts one, of `workers` CPUs or all.

    Raises ConfigError where no cluster answers, NearnormError where one fails: `again` is what to do then.
    """
    if address is not None:
        _refuse_silence(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised
    import ray

    here = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
    try:
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **here)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise ConfigError(f"--engine ray: no cluster could be started here ({_line(error)})") from None
        raise ConfigError(f"--address {address}: no Ray cluster answers there ({_line(error)})") from None
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise NearnormError(f"the Ray cluster failed ({_line(error)}): {again}") from None
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Ray itself knocks for two minutes where nobody is. What is no HOST:PORT is left to Ray's own words."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or "/" in address:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--address {address}: no Ray cluster answers there ({_line(error)})") from None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""A real `nearnorm serve`, its worker beside it, and a client: what the tests of the loop share."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nearnorm import Client
from nearnorm.client import UnreachableError
from tests.ports import free_port
from tests.service.waiting import all_logged, until

NEARNORM = Path(sys.executable).parent / "nearnorm"
LONGEST_JOB = 300.0  # seconds, on a machine with much else to do


@contextlib.contextmanager
def running(home: Path, **settings: str) -> Iterator[str]:
    """The address of a service in a process of its own, which is ready, until the block ends."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "NEARNORM_HOME": str(home)}
    environment |= {f"NEARNORM_{name.upper()}": value for name, value in settings.items()}
    with (home / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [NEARNORM, "serve", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
        url = f"http://127.0.0.1:{port}"
        try:
            with Client(url, patience=0) as client:
                until(lambda: _ready(client, process), 60)
            yield url
        finally:
            process.terminate()
            process.wait(60)


@contextlib.contextmanager
def serving(home: Path, **settings: str) -> Iterator[Client]:
    """A client of such a service."""
    with running(home, **settings) as url, Client(url, timeout=60) as client:
        yield client


def _ready(client: Client, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the service ended by itself: see service.log"
    return is_ready(client)


def is_ready(client: Client) -> bool:
    with contextlib.suppress(UnreachableError):
        return client.ready()["ready"]
    return False


def serves(client: Client, version: str) -> bool:
    """Whether a version is the one that serves."""
    return client.ready()["models"][0]["version"] == version


def logged(client: Client) -> bool:
    """Whether every kept event is in the ledger, so that the queue knows it."""
    return all_logged(client.request("GET", "/metrics"))


def example_record(client: Client) -> dict[str, Any]:
    """The example that the service's own document gives."""
    document = client.request("GET", "/openapi.json")
    body = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    record: dict[str, Any] = body["examples"]["records"]["value"]["records"][0]
    return record

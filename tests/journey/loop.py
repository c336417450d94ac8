"""A real `nearnorm serve`, its worker beside it, and a client: what the tests of the loop share."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.service.waiting import until

NEARNORM = Path(sys.executable).parent / "nearnorm"
ENDED = ("succeeded", "refused", "failed", "cancelled")


@contextlib.contextmanager
def serving(home: Path, **settings: str) -> Iterator[httpx.Client]:
    """A client of a service in a process of its own, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    home.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "NEARNORM_HOME": str(home)}
    environment |= {f"NEARNORM_{name.upper()}": value for name, value in settings.items()}
    with (home / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [NEARNORM, "serve", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                until(lambda: _ready(client, process), 60)
                yield client
        finally:
            process.terminate()
            process.wait(60)


def _ready(client: httpx.Client, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the service ended by itself: see service.log"
    with contextlib.suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False


def ended(client: httpx.Client, job_id: str, seconds: float = 180) -> dict[str, Any]:
    """The job, once it has ended."""
    job: dict[str, Any] = {}

    def over() -> bool:
        job.update(client.get(f"/jobs/{job_id}").json())
        return job["state"] in ENDED

    until(over, seconds)
    return job

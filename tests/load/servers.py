"""Servers as processes of this machine: started, waited for, looked at, ended."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nearnorm.models.bundle.bundle import MANIFEST, Bundle, read_bundle
from nearnorm.models.store.folder import ModelStore
from tests.load.rows import write_training_file

NEARNORM = str(Path(sys.executable).with_name("nearnorm"))
YARDSTICK = (sys.executable, "-m", "tests.load.yardsticks")


@dataclass(frozen=True)
class Program:
    """How a server is started: `{port}` is filled in. `forms` are the bodies that it understands."""

    name: str
    command: Sequence[str]
    forms: frozenset[str]
    environment: Mapping[str, str]
    folder: Path | None = None


@dataclass
class Server:
    """A program that answers on a port. Memory in MB."""

    program: Program
    process: subprocess.Popen[bytes]
    port: int
    seconds_to_start: float = 0.0
    rss_at_start: float = 0.0

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def rss(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def cpu_seconds(self) -> float:
        """CPU that the process has used so far, in all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEARNORM_")}
    return kept | more


def trained(folder: Path, write: Callable[[Path], None] = write_training_file) -> Bundle:
    """The benchmark's model, or that of what `write` writes, trained into `folder` by default settings:
    anew when that code is newer."""
    manifest = folder / "bundle" / MANIFEST
    code = max(path.stat().st_mtime for room in ("training", "models") for path in Path(room).glob("*.py"))
    if not manifest.is_file() or manifest.stat().st_mtime < code:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write(folder / "rows.parquet")
        command = [NEARNORM, "train", str(folder / "rows.parquet"), "--out", str(folder / "bundle")]
        subprocess.run(command, check=True, env=clean_environment(), stdout=subprocess.DEVNULL)
    return read_bundle(folder / "bundle")


def nearnorm(bundle: Bundle, home: Path, *options: str, **settings: str) -> Program:
    """Our service with `bundle` for its champion, and everything on but the worker."""
    store = ModelStore(home / "models")
    store.activate(store.publish(bundle.path), by="bench")
    return Program(
        "nearnorm",
        (NEARNORM, "serve", "--port", "{port}", *options),
        frozenset({"records", "columns", "arrow"}),
        {"NEARNORM_HOME": str(home), "NEARNORM_WORKER": "off"} | settings,
    )


def empty() -> Program:
    return Program("empty", (*YARDSTICK, "empty", "-", "{port}"), frozenset({"records"}), {})


def tutorial(bundle: Bundle) -> Program:
    return Program("tutorial", (*YARDSTICK, "tutorial", str(bundle.path), "{port}"), frozenset({"lists"}), {})


def route(bundle: Bundle) -> Program:
    return Program("route", (*YARDSTICK, "route", str(bundle.path), "{port}"), frozenset({"records"}), {})


@contextlib.contextmanager
def running(programs: Sequence[Program], first_port: int = 18_230) -> Iterator[list[Server]]:
    """Every program, started one after the other on the ports from `first_port` on."""
    servers: list[Server] = []
    try:
        for number, program in enumerate(programs):
            port = first_port + number
            _check_free(port)
            started = time.perf_counter()
            process = subprocess.Popen(
                [part.format(port=port) for part in program.command],
                env=clean_environment(**{k: v.format(port=port) for k, v in program.environment.items()}),
                cwd=program.folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            server = Server(program, process, port)
            servers.append(server)
            _wait(server)
            server.seconds_to_start = time.perf_counter() - started
            server.rss_at_start = server.rss
        yield servers
    finally:
        for server in servers:
            server.process.terminate()
        for server in servers:
            try:
                server.process.wait(30)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()


def _check_free(port: int) -> None:
    """Else whoever listens there would be measured. Raises RuntimeError."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise RuntimeError(f"port {port} is taken: end who listens there, and measure again")


def _wait(server: Server) -> None:
    """Until any answer comes, be it a 404."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"{server.process.args!r} ended: is its port taken?")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=5).read()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"{server.process.args!r} does not answer")

"""`make bench-serve`: /score against its yardsticks, in interleaved rounds on this machine.

Machines drift and are shared, so only ratios within a round are compared; every figure is a median.
Everything is on: event log, metrics, policy, drift.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from models.bundle import Bundle, read_bundle
from models.store import ModelStore
from service.encode import Encoder
from service.engine import Engine
from tests.load.rows import NAMES, draw, records, write_training_file
from tests.load.wrk import Load, Measured, run_wrk, write_script

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
NEARNORM = str(Path(sys.executable).with_name("nearnorm"))


@dataclass
class Server:
    """A process that answers on a port; `forms` are the bodies that it understands."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    forms: set[str]
    seconds_to_start: float

    @property
    def rss(self) -> float:
        """Resident megabytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEARNORM_")}
    return kept | more


def trained(folder: Path) -> Bundle:
    """The benchmark's model, trained once into `folder` by the default configuration."""
    if not (folder / "bundle").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        write_training_file(folder / "rows.parquet")
        command = [NEARNORM, "train", str(folder / "rows.parquet"), "--out", str(folder / "bundle")]
        subprocess.run(command, check=True, env=clean_environment(), stdout=subprocess.DEVNULL)
    return read_bundle(folder / "bundle")


def loads() -> list[Load]:
    """1, 32 and 1,000 rows a request: as records, as columns, as the bare lists of the tutorial app."""
    found = []
    for name, rows, connections, ring in (
        ("1 row", 1, 64, 64),
        ("32 rows", 32, 16, 16),
        ("1000 rows", 1000, 4, 4),
    ):
        named = [records(rows, seed) for seed in range(10, 10 + ring)]
        bare = [draw(rows, seed, 0.001)[0].tolist() for seed in range(10, 10 + ring)]
        columns = [{n: [r[n] for r in batch] for n in NAMES} for batch in named]
        for form, bodies in (
            ("records", [json.dumps({"records": batch}).encode() for batch in named]),
            ("columns", [json.dumps({"columns": batch}).encode() for batch in columns]),
            ("lists", [json.dumps({"rows": batch}).encode() for batch in bare]),
        ):
            if form != "columns" or rows == 1000:
                found.append(Load(f"{name}, {form}", connections, rows, "/score", JSON, bodies))
        if rows == 1000:
            streams = [arrow_stream(batch) for batch in columns]
            found.append(Load(f"{name}, arrow", connections, rows, "/score", ARROW, streams))
    return found


def arrow_stream(columns: dict[str, list[float]]) -> bytes:
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


@contextlib.contextmanager
def serving(bundle: Bundle, home: Path) -> Iterator[list[Server]]:
    """Every server, started one after the other."""
    store = ModelStore(home / "models")
    store.activate(store.publish(bundle.path), by="bench")
    every = {"records", "columns", "arrow"}
    yardstick = [sys.executable, "-m", "tests.load.yardsticks"]
    commands: list[tuple[str, set[str], list[str]]] = [
        ("nearnorm", every, [NEARNORM, "serve", "--port"]),
        ("empty", every, [*yardstick, "empty", "-"]),
        ("tutorial", {"lists"}, [*yardstick, "tutorial", str(bundle.path)]),
        ("route", {"records"}, [*yardstick, "route", str(bundle.path)]),
    ]
    servers: list[Server] = []
    try:
        for number, (name, understood, command) in enumerate(commands):
            port = 18_230 + number
            started = time.perf_counter()
            process = subprocess.Popen(
                [*command, str(port)],
                env=clean_environment(NEARNORM_HOME=str(home), NEARNORM_WORKER="off"),
                stderr=subprocess.DEVNULL,
            )
            servers.append(Server(name, process, port, understood, 0.0))
            _wait(process, port)
            servers[-1].seconds_to_start = time.perf_counter() - started
        yield servers
    finally:
        for server in servers:
            server.process.terminate()
        for server in servers:
            server.process.wait(30)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Until any answer comes, be it a 404."""
    for _ in range(3000):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended: is its port taken?")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).read()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} does not answer")


def alone(bundle: Bundle, load: Load) -> tuple[float, float]:
    """Requests per second of one thread with nothing but decode, onnxruntime and encode; and of
    onnxruntime by itself."""
    encoder, engine = Encoder(bundle.manifest.core.features, 10_000), Engine(bundle, "cpu", 1)
    write = msgspec.json.Encoder().encode
    body = load.bodies[0]
    rows = encoder.encode(encoder.decode(body)).rows

    def whole() -> bytes:
        found = engine.run(encoder.encode(encoder.decode(body)).rows)
        names = ("score", "prototype", "distance", "reconstruction_error")
        return write({name: getattr(found, name).tolist() for name in names})

    return _rate(whole), _rate(lambda: engine.run(rows))


def _rate(work: Callable[[], object], seconds: float = 0.5) -> float:
    count, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        work()
        count += 1
    return count / taken


def measure(
    bundle: Bundle, servers: list[Server], rounds: int, seconds: int, folder: Path
) -> dict[str, dict[str, list[Measured]]]:
    """Rounds by load and server. In a round every server is measured once, one after the other."""
    every = loads()
    scripts = {load.name: write_script(load, folder) for load in every}
    found: dict[str, dict[str, list[Measured]]] = {}
    for number in range(rounds):
        for load in every:
            form = load.name.split(", ")[1]
            for server in servers:
                if form not in server.forms:
                    continue
                measured = run_wrk(load, scripts[load.name], server.port, seconds)
                found.setdefault(load.name, {}).setdefault(server.name, []).append(measured)
            if form in ("records", "columns"):
                for name, rate in zip(
                    ("decode + run + encode", "onnxruntime"), alone(bundle, load), strict=True
                ):
                    one = Measured(rate, 1e3 / rate, 1e3 / rate)
                    found[load.name].setdefault(name, []).append(one)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return found


def median(values: list[Measured], field: str) -> float:
    return float(statistics.median(getattr(v, field) for v in values))


def ratio(of: list[Measured], to: list[Measured]) -> float:
    """The median over rounds of the ratio within a round."""
    return statistics.median(a.rate / b.rate for a, b in zip(of, to, strict=True))


def table(found: dict[str, dict[str, list[Measured]]]) -> str:
    lines = [
        "| load | server | requests/s | nearnorm's part of it | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|",
    ]
    for load, by_server in found.items():
        size = load.split(", ")[0]
        ours = by_server.get("nearnorm") or found[f"{size}, records"]["nearnorm"]
        for server, values in by_server.items():
            part = "" if server == "nearnorm" else f"{ratio(ours, values):.2f}"
            lines.append(
                f"| {load} | {server} | {median(values, 'rate'):,.0f} | {part} "
                f"| {median(values, 'p50'):.2f} | {median(values, 'p99'):.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    parser.add_argument("--out", type=Path, help="every round as JSON")
    arguments = parser.parse_args()
    bundle = trained(arguments.model)
    with tempfile.TemporaryDirectory() as folder, serving(bundle, Path(folder)) as servers:
        found = measure(bundle, servers, arguments.rounds, arguments.seconds, Path(folder))
        print(f"{platform.machine()}, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}")
        print(f"{arguments.rounds} rounds of {arguments.seconds} s, medians\n")
        print(table(found))
        print("\n| server | start to first answer, s | RSS after the load, MB |\n|---|---|---|")
        for server in servers:
            print(f"| {server.name} | {server.seconds_to_start:.2f} | {server.rss:.0f} |")
    if arguments.out:
        plain = {
            load: {server: [asdict(m) for m in values] for server, values in by_server.items()}
            for load, by_server in found.items()
        }
        arguments.out.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()

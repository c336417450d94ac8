"""The closed loop: so many connections, each sending its next request when it has its answer.

Machines drift and are shared, so only ratios within a round are compared; every figure is a median of them.
"""

import http.client
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.inference.engine import Engine
from nearnorm.service.records.encoder import Encoder
from tests.load.loads import ALONE, MANY, SIZES, Size, load_of
from tests.load.servers import Server
from tests.load.wrk import Load, run_wrk, write_script

PARTS = "decode + run + encode"
RUN = "onnxruntime"
TRIES = 3
RIVALS = ("tutorial", "mlserver", "kserve")
"""Servers that are asked the same in their own words, and answer four bare arrays."""


@dataclass(frozen=True)
class Round:
    """Requests per second, milliseconds, and CPU of the server's process: microseconds a request."""

    rate: float
    p50: float
    p99: float
    cpu_us: float


@dataclass(frozen=True)
class Cell:
    """What was measured: a size in the form that a server understands."""

    size: Size
    form: str
    server: str


class Found:
    """Rounds by cell."""

    def __init__(self) -> None:
        self.rounds: dict[Cell, list[Round]] = {}

    def add(self, cell: Cell, one: Round) -> None:
        self.rounds.setdefault(cell, []).append(one)

    def of(self, size: Size, server: str, form: str | None = None) -> list[Round]:
        """The rounds of a server at a size, in its first form if none is said; [] if there are none."""
        for cell, rounds in self.rounds.items():
            if cell.size == size and cell.server == server and form in (None, cell.form):
                return rounds
        return []

    def best(self, size: Size, servers: Iterable[str]) -> list[Round]:
        """Round by round the fastest of the servers."""
        each = [rounds for server in servers if (rounds := self.of(size, server))]
        return [max(those, key=lambda r: r.rate) for those in zip(*each, strict=True)]


def ratio(of: Sequence[Round], to: Sequence[Round], field: str = "rate") -> float:
    """The median over rounds of the ratio within a round; NaN where one of them was not measured."""
    if not of or not to:
        return float("nan")
    return float(
        statistics.median(getattr(a, field) / getattr(b, field) for a, b in zip(of, to, strict=True))
    )


def median(rounds: Sequence[Round], field: str) -> float:
    return float(statistics.median(getattr(one, field) for one in rounds))


def measure(bundle: Bundle, servers: Sequence[Server], rounds: int, seconds: int, folder: Path) -> Found:
    """In a round every server is measured once at every size, one after the other.

    Another's failure leaves that cell out, which is told; one of ours raises RuntimeError.
    """
    found = Found()
    cells = [
        (Cell(size, form, server.name), server, load_of(size, form))
        for size in SIZES
        for server in servers
        for form in ("records", "columns", "arrow", "lists", "instances", "tensors")
        if form in server.program.forms and (size == MANY or form not in ("columns", "arrow"))
    ]
    scripts = {load.name: write_script(load, folder) for _, _, load in cells}
    alone = Alone(bundle)
    for _, server, load in cells:
        _warm(server, load)
    for number in range(rounds):
        for cell, server, load in list(cells):
            try:
                found.add(cell, one_round(server, load, scripts[load.name], seconds))
            except RuntimeError as error:
                if cell.server not in RIVALS:
                    raise
                print(f"left out: {error}", file=sys.stderr)
                cells.remove((cell, server, load))
                found.rounds.pop(cell, None)
                continue
            if cell.server == "nearnorm" and cell.form in ("records", "columns") and cell.size != ALONE:
                parts, run = alone.of(load)
                found.add(Cell(cell.size, cell.form, PARTS), parts)
                found.add(Cell(cell.size, cell.form, RUN), run)
        print(f"closed loop: round {number + 1} of {rounds}", file=sys.stderr)
    return found


def _warm(server: Server, load: Load) -> None:
    """One request, which may import and allocate what the others find there."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    client.request("POST", load.path, load.bodies[0], {"Content-Type": load.content_type})
    client.getresponse().read()
    client.close()


def one_round(server: Server, load: Load, script: Path, seconds: int) -> Round:
    """Raises RuntimeError where nothing is answered."""
    for _ in range(TRIES):
        before = server.cpu_seconds
        told = run_wrk(load, script, server.port, seconds)
        if told.requests:
            cpu = server.cpu_seconds - before
            return Round(told.rate, told.p50, told.p99, 1e6 * cpu / told.requests)
    raise RuntimeError(f"{load.name}: {server.name} answered nothing in {TRIES} times {seconds} s")


class Alone:
    """One thread with nothing but decoding, onnxruntime and encoding; and onnxruntime by itself."""

    def __init__(self, bundle: Bundle) -> None:
        self._encoder = Encoder(bundle.manifest.core.features, 10_000)
        self._engine = Engine(bundle, "cpu", 1)
        self._write = msgspec.json.Encoder().encode

    def of(self, load: Load) -> tuple[Round, Round]:
        body, encoder, engine = load.bodies[0], self._encoder, self._engine
        rows = encoder.encode(encoder.decode(body)).rows

        def whole() -> bytes:
            answers = engine.run(encoder.encode(encoder.decode(body)).rows)
            names = ("score", "prototype", "distance", "reconstruction_error")
            return self._write({name: getattr(answers, name).tolist() for name in names})

        return _timed(whole), _timed(lambda: engine.run(rows))


def _timed(work: Callable[[], object], seconds: float = 0.5) -> Round:
    count, started, cpu = 0, time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - started) < seconds:
        work()
        count += 1
    each = 1e3 * taken / count
    return Round(count / taken, each, each, 1e6 * (time.process_time() - cpu) / count)


def table(found: Found) -> str:
    lines = [
        "| load | server | as | requests/s | nearnorm's part of it | p50 ms | p99 ms | CPU us a request |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        for cell, rounds in found.rounds.items():
            if cell.size != size:
                continue
            ours = found.of(size, "nearnorm", cell.form) or found.of(size, "nearnorm")
            part = "" if cell.server == "nearnorm" else f"{ratio(ours, rounds):.2f}"
            lines.append(
                f"| {size.name} | {cell.server} | {cell.form} | {median(rounds, 'rate'):,.0f} | {part} "
                f"| {median(rounds, 'p50'):.2f} | {median(rounds, 'p99'):.2f} "
                f"| {median(rounds, 'cpu_us'):,.0f} |"
            )
    return "\n".join(lines)

"""A thousand models in one process: memory, an idle second, cold answers, and what they cost a warm model.

    python -m tests.load.bench_many [--models 1000] [--seconds 8] [--rounds 3]

The models are one that was trained, as so many versions, each with files, a session and a line of its own.
The warm model's requests come in an open loop, by turns alone, beside others to one other model, and beside
as many to all of them, which are asked for as Zipf has it: few often, most seldom, and so out of memory.
"""

import argparse
import json
import os
import re
import statistics
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle, read_bundle, write_bundle
from nearnorm.models.store.folder import ModelStore
from tests.load.openloop import Stream, offer, poisson, raw
from tests.load.rows import records
from tests.load.servers import Server, nearnorm, running, trained
from tests.load.wrk import Load

TRAINED = Path("var/bench")
WARM, OTHER = "line-0", "line-1"
WARM_RATE, BESIDE_RATE = 200.0, 100.0
"""Requests a second, one row each."""
EXPONENT = 1.1
LIMIT_MS = 50.0


class Beside(Struct):
    """The warm model's quantiles (ms) beside other traffic, that traffic's own, and what was loaded."""

    warm: list[float]
    others: list[float]
    loads: int
    failed: int


def publish(home: Path, bundle: Bundle, count: int) -> None:
    """So many lines, each with a version of its own."""
    store = ModelStore(home / "models")
    with TemporaryDirectory() as folder:
        for number in range(count):
            core = bundle.manifest.core.model_copy(update={"seed": number})
            manifest = bundle.manifest.model_copy(update={"core": core, "version": core.version})
            one = write_bundle(Path(folder) / str(number), manifest, bundle.model)
            store.activate(store.publish(one.path), by="bench", model=f"line-{number}")


def requests(lines: Sequence[int], seed: int) -> list[bytes]:
    """One row for each of the lines."""
    rows = records(len(lines), seed)
    bodies = [
        json.dumps({"model": f"line-{line}", "records": [row]}).encode()
        for line, row in zip(lines, rows, strict=True)
    ]
    return raw(Load("many", 1, 1, "/score", "application/json", bodies))


def zipf(count: int, wanted: int, seed: int) -> list[int]:
    """Which of `count` lines each of so many requests asks for; the two that are measured apart left out."""
    weights = 1.0 / np.arange(1, count - 1) ** EXPONENT
    drawn = np.random.default_rng(seed).choice(count - 2, wanted, p=weights / weights.sum())
    found: list[int] = (drawn + 2).tolist()
    return found


def loads_of(server: Server) -> tuple[int, int]:
    """How often a model was loaded as it was asked for, and how often within LIMIT_MS."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as answer:
        text = answer.read().decode()

    def counted(sample: str) -> int:
        found = re.search(rf"^nearnorm_model_load_seconds_{sample} (\S+)$", text, re.MULTILINE)
        return round(float(found[1])) if found else 0

    return counted(r'count\{source="here"\}'), counted(r'bucket\{le="0.05",source="here"\}')


def idle(server: Server, seconds: float) -> float:
    """Percent of a core."""
    before = server.cpu_seconds
    time.sleep(seconds)
    return 100 * (server.cpu_seconds - before) / seconds


def sweep(server: Server, count: int) -> NDArray[np.float64]:
    """Milliseconds of one request to each line, one after the other: nearly all are out of memory."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    found = []
    for line, row in enumerate(records(count, seed=7)):
        body = json.dumps({"model": f"line-{line}", "records": [row]})
        started = time.perf_counter()
        connection.request("POST", "/score", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        found.append(1e3 * (time.perf_counter() - started))
        if answer.status != 200:
            raise RuntimeError(f"line-{line} was answered with {answer.status}")
    return np.array(found)


def beside(server: Server, lines: Sequence[int], seconds: float, seed: int) -> Beside:
    """The warm model, and requests to `lines`; none: alone."""
    warm = Stream(requests([0], seed), poisson(WARM_RATE, seconds, seed), connections=16)
    others = Stream(requests(lines, seed), poisson(BESIDE_RATE, seconds, seed + 1), connections=64)
    before, _ = loads_of(server)
    answers = offer(server.port, [warm, others] if lines else [warm])
    after, _ = loads_of(server)
    failed = sum(int((one.status != 200).sum()) for one in answers)
    quantiles = [one.quantiles(0.5, 0.99) for one in answers]
    return Beside(quantiles[0], quantiles[-1], after - before, failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count, seconds = options.models, options.seconds
    bundle = trained(TRAINED)
    with TemporaryDirectory() as home:
        publish(Path(home), bundle, count)
        with running([nearnorm(read_bundle(bundle.path), Path(home))]) as (server,):
            busy = os.getloadavg()[0]
            print(f"{count} models of {len(bundle.model) / 1e3:.0f} kB; load average {busy:.1f}")
            print(f"start {server.seconds_to_start:.1f} s, {_at_rest(server)}")
            for turn in ("first", "second"):
                used, swept = server.cpu_seconds, sweep(server, count)
                used = 1e3 * (server.cpu_seconds - used) / count
                told = ", ".join(f"p{at} {np.percentile(swept, at):.0f}" for at in (50, 95, 99))
                print(f"each asked for a {turn} time: {told} ms; {used:.0f} ms of CPU")
                print(f"then {_at_rest(server)}")
            _by_turns(server, count, seconds, options.rounds)
            loaded, soon = loads_of(server)
            share = soon / max(1, loaded)
            print(f"\n{loaded} loads, {share:.1%} within {LIMIT_MS:.0f} ms; then {_at_rest(server)}")


def _at_rest(server: Server) -> str:
    time.sleep(5)
    return f"{server.rss:.0f} MB, {idle(server, 20):.1f}% of a core when idle"


def _by_turns(server: Server, count: int, seconds: float, rounds: int) -> None:
    found: dict[str, list[Beside]] = {"alone": [], "one other model": [], "all models (Zipf)": []}
    for turn in range(rounds):
        wanted = round(BESIDE_RATE * seconds)
        lines = {"alone": [], "one other model": [1] * wanted, "all models (Zipf)": zipf(count, wanted, turn)}
        for name, asked in lines.items():
            found[name].append(beside(server, asked, seconds, turn))
    print("\n| warm model beside | its p50 / p99 ms | the others' p50 / p99 ms | loads a second | failed |")
    print("|---|---|---|---|---|")
    for name, turns in found.items():
        p50, p99, other50, other99 = (
            statistics.median(values)
            for values in zip(*((*turn.warm, *turn.others) for turn in turns), strict=True)
        )
        others = "" if name == "alone" else f"{other50:.2f} / {other99:.1f}"
        loads = sum(turn.loads for turn in turns) / (rounds * seconds)
        failed = sum(turn.failed for turn in turns)
        print(f"| {name} | {p50:.2f} / {p99:.1f} | {others} | {loads:.1f} | {failed} |")


if __name__ == "__main__":
    main()

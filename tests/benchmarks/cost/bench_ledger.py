"""What remembering costs: /score with and without remembering, and answers over a full ledger.

    python -m tests.benchmarks.cost.bench_ledger overhead              # needs wrk
    python -m tests.benchmarks.cost.bench_ledger volume --database sqlite --database postgresql

`overhead` serves the same model twice, once with nothing kept, no policy, no keys looked at, and measures
them in turn. `volume` fills a ledger with 1,000,000 events and 10,000 labels and asks over HTTP.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa

from nearnorm.models.data.digest import record_digest
from nearnorm.service import follower
from nearnorm.service.access.keyring import ANONYMOUS, Keyring
from nearnorm.service.ids import first_id_at, new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables.events import events, traffic
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.process.server import run
from nearnorm.service.scoring.answer_parts import NOTHING
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.settings import load_settings
from tests.ports import free_port
from tests.service.ledger.keeping import keep
from tests.service.ledger.servers import running_postgres

LUA = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = 0
request = function()
  at = at %% #bodies + 1
  return wrk.format("POST", "/score", {["content-type"] = "application/json"}, bodies[at])
end
"""


def serve_bare(port: int) -> None:
    """The service without what is measured here."""
    Memory.note = lambda *_: NOTHING  # type: ignore[method-assign]
    Keyring.admit = lambda *_: ANONYMOUS  # type: ignore[method-assign]
    run(load_settings({"port": port}))


@dataclass(frozen=True)
class Served:
    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """What all its threads have used: other work on the machine does not change it much."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(how: str, environment: dict[str, str]) -> Iterator[Served]:
    """A service in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.cost.bench_ledger", how, "--port", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, "NEARNORM_WORKER": "off", **environment}, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            assert process.poll() is None, "the service ended by itself"
            time.sleep(0.05)
        yield Served(url, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def overhead(rounds: int, seconds: int) -> dict[str, Any]:
    """Requests and CPU time with and without remembering, in turn, for requests of 1 and of 100 records."""
    outcome: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        homes = [{"NEARNORM_HOME": f"{folder}/{name}", "NEARNORM_THREADS": "1"} for name in ("a", "b")]
        with served("serve", homes[0]) as whole, served("serve-bare", homes[1]) as bare:
            for size in (1, 100):
                bodies = Path(folder) / f"bodies-{size}"
                bodies.write_text("\n".join(_bodies(bare.url, size)) + "\n")
                script = Path(folder) / f"score-{size}.lua"
                script.write_text(LUA % bodies)
                found: dict[Served, list[tuple[float, float]]] = {whole: [], bare: []}
                for number in range(rounds):
                    for service in (whole, bare) if number % 2 else (bare, whole):
                        found[service].append(_wrk(service, script, seconds))
                outcome[f"{size} records a request"] = {
                    "requests_per_second": _compared([(a[0], b[0]) for a, b in _pairs(found, whole, bare)]),
                    "cpu_us_per_request": _compared([(a[1], b[1]) for a, b in _pairs(found, whole, bare)]),
                }
    return outcome


def _pairs(found: dict[Served, list[Any]], one: Served, other: Served) -> list[tuple[Any, Any]]:
    return list(zip(found[one], found[other], strict=True))


def _compared(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    ratios = [whole / bare for whole, bare in pairs]
    return {
        "with": round(statistics.median(whole for whole, _ in pairs), 1),
        "without": round(statistics.median(bare for _, bare in pairs), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def _wrk(service: Served, script: Path, seconds: int) -> tuple[float, float]:
    """Requests a second, and microseconds of CPU a request."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), f"{service.url}/score"]
    before = service.cpu_seconds()
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = service.cpu_seconds() - before
    assert "Non-2xx" not in answer, answer
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", answer)
    count = re.search(r"([0-9]+) requests in", answer)
    assert rate, answer
    assert count, answer
    return float(rate[1]), 1e6 * used / int(count[1])


def _bodies(url: str, size: int) -> list[str]:
    """100 requests of records that all differ; one in a hundred is an alert, as by the default policy."""
    usual, strange = _records(url)
    rng = np.random.default_rng(0)
    return [
        json.dumps(
            {"records": [_varied(strange if rng.random() < 0.01 else usual, 1e-4, rng) for _ in range(size)]}
        )
        for _ in range(100)
    ]


def _records(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record of the service's own document that is no alert, and one that is."""
    document = httpx.get(f"{url}/openapi.json").json()
    body = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    sample: dict[str, Any] = body["examples"]["records"]["value"]["records"][0]
    rng = np.random.default_rng(0)
    tried = [_varied(sample, float(spread), rng) for spread in np.geomspace(1e-3, 1e4, 2000)]
    results = httpx.post(f"{url}/score", json={"records": tried}, timeout=60).json()["results"]
    by_percentile = sorted(zip((r["percentile"] for r in results), range(len(tried)), strict=True))
    assert results[by_percentile[-1][1]]["anomaly"]
    return tried[by_percentile[0][1]], tried[by_percentile[-1][1]]


def _varied(sample: dict[str, Any], spread: float, rng: np.random.Generator) -> dict[str, Any]:
    return {
        name: value * float(1 + spread * rng.standard_normal()) if type(value) is float else value
        for name, value in sample.items()
    }


def volume(database: str, count: int, labelled: int, asks: int) -> dict[str, Any]:
    """Percentiles of the time that answers take over a full ledger."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        environment = {"NEARNORM_HOME": folder}
        if database == "postgresql":
            environment["NEARNORM_DATABASE_URL"] = stack.enter_context(running_postgres())
        started = time.monotonic()
        sample = fill(environment, count, labelled)
        filled = time.monotonic() - started
        with (
            served("serve", environment) as service,
            httpx.Client(base_url=service.url, timeout=30) as client,
        ):
            time.sleep(2 * follower.FOLLOW_SECONDS)
            found = _asked(client, sample, asks)
    return {"database": database, "fill_seconds": round(filled, 1), "milliseconds": found}


def fill(environment: dict[str, str], count: int, labelled: int) -> dict[str, Any]:
    """A home whose ledger holds so many events and labels; the values that all of them have."""
    with served("serve", environment) as service:
        sample, _ = _records(service.url)
    ledger = Ledger.at(environment.get("NEARNORM_DATABASE_URL"), Path(environment["NEARNORM_HOME"]))
    migrate(ledger)
    digests = _fill_events(ledger, sample, count)
    _fill_labels(ledger, digests[:labelled], sample)
    if "NEARNORM_DATABASE_URL" in environment:
        with ledger.write() as connection:
            connection.execute(sa.text("ANALYZE"))
    ledger.close()
    return sample


def _fill_events(ledger: Ledger, sample: dict[str, Any], count: int) -> list[str]:
    """Half alerts, half of the random slice, spread over 30 days; the digests of the strangest first."""
    rng = np.random.default_rng(0)
    percentiles = np.where(rng.random(count) < 0.5, rng.uniform(99, 100, count), rng.uniform(0, 100, count))
    start = now_ms() - 29 * 24 * 3600 * 1000
    digests = []
    for begin in range(0, count, 10_000):
        kept = []
        for i in range(begin, min(begin + 10_000, count)):
            percentile = float(percentiles[i])
            at = start + i * 2
            digest = record_digest({"row": float(i)})
            kept.append(
                events.Event(
                    first_id_at(at)[:10] + new_id()[10:],
                    at,
                    "default",
                    "v",
                    f"tx-{i}",
                    digest,
                    sample,
                    percentile / 100,
                    percentile,
                    percentile >= 99,
                    0,
                    percentile < 99,
                    1.0 if percentile >= 99 else 0.01,
                )
            )
            digests.append(digest)
        keep(ledger, kept)
        with ledger.write() as connection:
            hour = Counted("default", at // 3_600_000, "v", "bench", 51_000, 10, 0, 0, 0, {99: 51_000.0})
            traffic.put(connection, "bench", [hour])
    return [digests[i] for i in np.argsort(-percentiles)]


def _fill_labels(ledger: Ledger, digests: list[str], sample: dict[str, Any]) -> None:
    for begin in range(0, len(digests), 500):
        with ledger.write() as connection:
            said = [
                Label(new_id(), now_ms(), "default", digest, "anomaly", sample | {"row": i}, "ann", "bench")
                for i, digest in enumerate(digests[begin : begin + 500])
            ]
            labels.append(connection, tick(connection, "labels"), said)


def _asked(client: httpx.Client, sample: dict[str, Any], asks: int) -> dict[str, dict[str, float]]:
    page = client.get("/queue", params={"limit": 20}).json()
    event_ids = [item["event_id"] for item in client.get("/queue", params={"limit": 200}).json()["queue"]]

    def feedback(i: int) -> httpx.Response:
        target = {"event_id": event_ids[i % len(event_ids)]} if i % 2 else {"record_id": f"tx-{i * 7}"}
        return client.post("/feedback", json={"labels": [{**target, "label": "anomaly", "analyst": "ann"}]})

    routes: dict[str, Callable[[int], httpx.Response]] = {
        "GET /queue": lambda i: client.get("/queue", params={"limit": 20}),
        "GET /queue, next page": lambda i: client.get("/queue", params={"limit": 20, "cursor": page["next"]}),
        "POST /feedback": feedback,
        "GET /policy": lambda i: client.get("/policy"),
        "PUT /policy, a share": lambda i: client.put("/policy", json={"budget": f"{1 + i / 1000}%"}),
        "PUT /policy, a day": lambda i: client.put("/policy", json={"budget": f"{4_000 + i} a day"}),
    }
    times: dict[str, list[float]] = {name: [] for name in routes}
    for i in range(asks):
        for name, ask in routes.items():
            started = time.perf_counter()
            answer = ask(i)
            times[name].append(1000 * (time.perf_counter() - started))
            assert answer.status_code < 300, (name, answer.text)
    return {
        name: {p: round(float(np.percentile(t, q)), 1) for p, q in (("p50", 50), ("p99", 99), ("max", 100))}
        for name, t in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("overhead", "volume", "serve", "serve-bare"))
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--asks", type=int, default=300)
    given = parser.parse_args()
    if given.what == "serve":
        run(load_settings({"port": given.port}))
    elif given.what == "serve-bare":
        serve_bare(given.port)
    elif given.what == "overhead":
        print(json.dumps(overhead(given.rounds, given.seconds), indent=1))
    else:
        for database in given.database or ["sqlite", "postgresql"]:
            print(json.dumps(volume(database, given.events, given.labels, given.asks), indent=1))


if __name__ == "__main__":
    main()

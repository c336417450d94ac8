"""What counts over windows are worth where fraud is velocity, and what they cost.

    python -m tests.benchmarks.cost.bench_aggregates worth
    python -m tests.benchmarks.cost.bench_aggregates cost
    python -m tests.benchmarks.cost.bench_aggregates stream

`worth`: made payments of which no single one shows fraud: a stolen card pays several times within minutes,
with amounts, merchants and hours as everybody's. A model learns from the first two thirds with a few labelled
frauds, and is measured on the last third by average precision, without the counts and with them. `cost`:
processor time of a record over history, and records a second into SQLite and PostgreSQL, as a stream does it.
`stream`: a streamer that counts, and one whose model declares nothing, from a topic that is full.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score

from nearnorm import NearnormDetector
from nearnorm.models.aggregates.declaration import Aggregates
from nearnorm.models.aggregates.events import event_of
from nearnorm.models.aggregates.history import as_columns, history_numbers, read_history
from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.service import counting
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger, ledger_url
from nearnorm.service.ledger.migrate import migrate
from tests.load.bench_stream import STREAM, Rate, Way, measured
from tests.load.servers import NEARNORM, nearnorm
from tests.service.interfaces.kafka.brokers import tansu
from tests.service.ledger.servers import fresh_database, postgres_server

DAYS, CARDS, MERCHANTS = 12, 3_000, 300
BEGIN = 1_700_000_000
BURSTS = 150
LABELLED = (5, 20, 100)
STREAMED = 10_000
LEDGERS = ("SQLite", "PostgreSQL")
DECLARED = Aggregates.of_table(
    {
        "time": "at",
        "id": "payment",
        "format": "epoch s",
        "features": {
            "card_count_10m": {"key": "card", "window": "10m", "function": "count"},
            "card_count_1d": {"key": "card", "window": "1d", "function": "count"},
            "card_amount_1h": {"key": "card", "window": "1h", "function": "sum", "of": "amount"},
            "card_merchants_1h": {"key": "card", "window": "1h", "function": "distinct", "of": "merchant"},
            "card_since": {"key": "card", "window": "7d", "function": "since last"},
        },
    },
    "bench",
)
SCHEMA: dict[str, dict[str, object]] = {
    **{name: {"kind": "ignored"} for name in ("payment", "card", "at")},
    "merchant": {"kind": "categorical", "categories": MERCHANTS},
}


def payments(seed: int) -> tuple[pa.Table, np.ndarray]:
    """In the order of their times, and which of them are fraud."""
    rng = np.random.default_rng(seed)
    often = rng.gamma(1.5, 1.0, CARDS)  # payments a day
    counts = rng.poisson(often * DAYS)
    card = np.repeat(np.arange(CARDS), counts)
    at = rng.uniform(0, DAYS * 86_400, len(card))
    stolen = rng.integers(0, CARDS, BURSTS)
    size = rng.integers(4, 11, BURSTS)
    begun = rng.uniform(86_400, DAYS * 86_400 - 3_600, BURSTS)
    card = np.concatenate([card, np.repeat(stolen, size)])
    at = np.concatenate([at, np.repeat(begun, size) + rng.uniform(0, 1_200, size.sum())])
    fraud = np.arange(len(card)) >= len(card) - size.sum()
    order = np.argsort(at)
    rows = len(card)
    table = pa.table(
        {
            "payment": [f"p{i}" for i in range(rows)],
            "at": BEGIN + np.floor(at[order]).astype(np.int64),
            "card": card[order],
            "amount": np.round(rng.lognormal(3.3, 0.9, rows), 2),
            "merchant": [f"m{i}" for i in rng.zipf(1.3, rows) % MERCHANTS],
            "channel": rng.choice(["web", "shop", "app"], rows),
            "country": rng.choice(["DE", "FR", "NL", "IT"], rows, p=[0.7, 0.1, 0.1, 0.1]),
        }
    )
    return table, fraud[order]


def with_counts(table: pa.Table) -> pa.Table:
    numbers = history_numbers(read_history([table], DECLARED, "bench"), DECLARED, now_ms() * 1_000)
    for name, column in as_columns(numbers, DECLARED).items():
        table = table.append_column(name, column)
    return table


def average_precision(table: pa.Table, fraud: np.ndarray, labelled: int, seed: int) -> float:
    cut = 2 * len(fraud) // 3
    rng = np.random.default_rng(seed)
    told = rng.choice(np.flatnonzero(fraud[:cut]), labelled, replace=False)
    labels = np.full(cut, np.nan)
    labels[told] = 1
    detector = NearnormDetector(schema=SCHEMA, random_state=seed).fit(table.slice(0, cut), labels)
    return float(average_precision_score(fraud[cut:], detector.decision_function(table.slice(cut))))


def worth(seeds: int) -> None:
    print("| labelled frauds | share of fraud | without counts | with counts |\n|---|---|---|---|")
    for labelled in LABELLED:
        found: dict[str, list[float]] = {"without": [], "with": []}
        shares = []
        for seed in range(seeds):
            table, fraud = payments(seed)
            shares.append(float(fraud[2 * len(fraud) // 3 :].mean()))
            for name, rows in (("without", table), ("with", with_counts(table))):
                found[name].append(average_precision(rows, fraud, labelled, seed))
        cells = [
            f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
            for values in found.values()
        ]
        print(f"| {labelled} | {statistics.mean(shares):.4f} | {' | '.join(cells)} |", flush=True)


def cost() -> None:
    table, _ = payments(0)
    started = time.process_time()
    with_counts(table)
    spent = (time.process_time() - started) / table.num_rows
    print(f"over history: {spent * 1e6:.1f} us of CPU a record ({table.num_rows:,} records)")
    events = [event_of(record, DECLARED) for record in table.slice(0, 20_000).to_pylist()]
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        for name, url in (("SQLite", ledger_url(None, Path(folder))), ("PostgreSQL", server.uri)):
            ledger = Ledger(url)
            migrate(ledger)
            for size in (1, 100, 1_000):
                most = min(len(events), 300 * size)
                wall, cpu = time.perf_counter(), time.process_time()
                for start in range(0, most, size):
                    with ledger.write() as connection:
                        counting.count_in(connection, f"m{size}", DECLARED, events[start : start + size])
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                print(
                    f"{name}, {size:,} at once: {most / wall:,.0f} records/s, "
                    f"{cpu / most * 1e6:.0f} us of CPU here a record"
                )
            ledger.close()


def stream(rounds: int) -> None:
    table, fraud = payments(0)
    sent = table.slice(table.num_rows - STREAMED).to_pylist()
    way = Way("stream", STREAM, STREAMED, 1, [json.dumps(record).encode() for record in sent])
    found: dict[str, list[Rate]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as name,
        tansu() as brokers,
        postgres_server() as server,
        ExitStack() as databases,
    ):
        bundles = _bundles(Path(name), table, fraud)
        for number, (_, counts, database) in enumerate(product(range(rounds), bundles, LEDGERS)):
            home, settings = Path(name) / str(number), {}
            nearnorm(bundles[counts], home)
            if database == "PostgreSQL":
                settings["NEARNORM_DATABASE_URL"] = databases.enter_context(fresh_database(server.uri))
            rate = measured(way, brokers, home, number, **settings)
            found[f"{counts} counts, {database}"].append(rate)
    for what, rates in found.items():
        rows, cpu = (statistics.median(getattr(one, field) for one in rates) for field in ("rows", "cpu_us"))
        print(f"{what}: {rows:,.0f} records/s, {cpu:.0f} us of CPU of the streamer a record")


def _bundles(folder: Path, table: pa.Table, fraud: np.ndarray) -> dict[str, Bundle]:
    """Trained by the command, with fifty frauds that are known."""
    known = set(np.flatnonzero(fraud)[:50].tolist())
    labels = pa.array([1 if row in known else None for row in range(len(fraud))], pa.int64())
    schema = folder / "schema.toml"
    schema.write_text(_declared())
    found = {}
    for name, rows, more in (("without", table, []), ("with", with_counts(table), ["--schema", str(schema)])):
        path, out = folder / f"{name}.parquet", folder / name
        pq.write_table(rows.append_column("label", labels), path)
        train = [NEARNORM, "train", str(path), "--label-column", "label", "--out", str(out), *more]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        found[name] = read_bundle(out)
    return found


def _declared() -> str:
    """As a schema file says it."""
    told = DECLARED.model_dump(mode="json", exclude_none=True)
    features = told.pop("features")
    lines = ["[aggregates]", *(f"{name} = {json.dumps(value)}" for name, value in told.items())]
    lines.append("[aggregates.features]")
    for name, feature in features.items():
        lines.append(f"{name} = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in feature.items())} }}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["worth", "cost", "stream"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="of stream")
    arguments = parser.parse_args()
    if arguments.what == "worth":
        worth(arguments.seeds)
    elif arguments.what == "cost":
        cost()
    else:
        stream(arguments.rounds)

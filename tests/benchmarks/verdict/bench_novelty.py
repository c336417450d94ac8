"""What the rule of novelty does to normal rows that come later than what training saw.

    python -m tests.benchmarks.verdict.bench_novelty

Sets whose file is in the order of time, normal rows only: bounds and closed columns from the first 70%, the
rest scored in their order, a hundred a request; beside it the same with the rows shuffled. Alerts are those
that are raised before a signal ceases. The distance, which takes a fit, is left out. Needs BENCH_DATA.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nearnorm.models.bundle.manifest import Core
from nearnorm.service.records.encoded import Rows
from nearnorm.service.verdict.novelty import Novelty, NoveltyWatch
from nearnorm.training.dataset.load import load, load_labelled
from nearnorm.training.evaluation.seen import what_was_seen
from tests.benchmarks.sets.bench_data import bench_data

SETS = (
    ("data", "bank_marketing"),
    ("data", "unsw_nb15"),
    ("data", "iot23"),
    ("data2", "firewall_log"),
    ("data2", "ozone_1hr"),
)
MOST_ROWS = 60_000
KNOWN = 0.7
REQUEST = 100


def rows_of(part: str, name: str) -> pa.Table | None:
    """Normal rows in the order of the file, evenly drawn where there are many."""
    folder = bench_data(part)
    if folder is None:
        return None
    table = pq.read_table(folder / name / "data.parquet")
    places = np.flatnonzero(table["label"].to_numpy() == 0)
    few = places[np.linspace(0, len(places) - 1, min(MOST_ROWS, len(places))).astype(int)]
    features = [column for column in table.column_names if column not in ("label", "anomaly_class")]
    return table.select(features).take(few)


def measure(table: pa.Table) -> tuple[int, float, int, list[str]]:
    """Of the later rows: how many, the share that is novel, alerts, and signals that ceased."""
    cut = int(KNOWN * len(table))
    with tempfile.TemporaryDirectory() as folder:
        first, later = Path(folder, "first.parquet"), Path(folder, "later.parquet")
        for path, part in ((first, table[:cut]), (later, table[cut:])):
            pq.write_table(part.append_column("label", pa.array(np.zeros(len(part)))), path)
        data = load(str(first), "label")
        arrays, _ = load_labelled(str(later), "label", data.schema)
    nowhere = np.zeros(len(data.numeric))
    seen = what_was_seen(data.schema, data.numeric, data.codes, nowhere)
    novelty = Novelty(Core.model_construct(features=data.schema, seen=seen))
    watch, rows = NoveltyWatch(), Rows(arrays.numeric, arrays.codes)
    novel = alerts = 0
    for start in range(0, len(rows), REQUEST):
        batch = rows.part(start, min(start + REQUEST, len(rows)))
        found = novelty.find(batch, np.zeros(len(batch), np.float32))
        novel += len(found)
        alerts += len(watch.alerting(found))
        watch.count(len(batch), found)
    return len(rows), novel / len(rows), alerts, [novelty.name(signal) for signal in watch.ceased]


def lines() -> Iterator[str]:
    for part, name in SETS:
        table = rows_of(part, name)
        if table is None:
            continue
        shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
        for order, ordered in (("time", table), ("shuffled", shuffled)):
            rows, share, alerts, ceased = measure(ordered)
            yield f"| {name} | {order} | {rows:,} | {share:.2%} | {alerts} | {', '.join(ceased) or 'none'} |"


def main() -> None:
    print("| set | split | later rows | novel | alerts for it | ceased |\n|---|---|---|---|---|---|")
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()

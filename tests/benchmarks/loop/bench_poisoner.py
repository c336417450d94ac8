"""A poisoner with a key beside an analyst with another: after ten rounds, what serves beside him and without?

In each round the analyst labels the strangest of new traffic truly, and the poisoner calls the next
strangest normals anomalies, all of which rank above where a second opinion is asked. Every few rounds a
retraining runs, by the product's own function; nobody puts anybody in quarantine.
"""

import argparse
import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.data.digest import record_digest
from nearnorm.models.data.files.read import read_table
from nearnorm.models.retraining import TrainingRequest, TrainingResult, Verdict
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.loop.challenger import rank_verdicts
from nearnorm.training.loop.retrain import retrain
from nearnorm.training.samples.make_payments import make
from tests.benchmarks.loop.gate_cells import CONTRADICTED, NOT_FEATURES
from tests.benchmarks.sets.bench_data import bench_data
from tests.training.conftest import train
from tests.training.samples import quick

SETS = (
    "data/unsw_nb15/data",
    "data/iot23/data",
    "data/bank_marketing/data",
    "data/adbench/22_magic.gamma",
    "data2/htru2/data",
    "data2/ethereum_fraud/data",
)
BASE, TRAFFIC, TESTED, ANOMALOUS = 800, 600, 2_000, 0.05
SHARED = 20
"""Labelled anomalies of the base data."""
ROUNDS, BETWEEN, REVIEWED, PLANTED = 10, 5, 8, 12
SMALL = Recipe(fit=quick(forests=1, trees=20, members=1, joint_epochs=1), columns={})
HONEST, POISONER = "soc", "eve"
_READ = 60_000
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class World:
    """Base data as a file, a round's traffic with its truth, and records that nobody labels."""

    base: Path
    rounds: list[tuple[Records, np.ndarray]]
    test: tuple[Records, np.ndarray]


def payments(folder: Path, seed: int) -> World:
    table, truth = make(BASE + 40 * SHARED, np.random.default_rng([seed, 1]))
    shared = np.flatnonzero(truth)[:SHARED]
    rows = np.union1d(np.arange(BASE), shared)
    rounds = [_payments(TRAFFIC, [seed, 2, number]) for number in range(ROUNDS)]
    return World(_base(folder, table, rows, shared), rounds, _payments(TESTED, [seed, 3]))


def _payments(rows: int, seed: list[int]) -> tuple[Records, np.ndarray]:
    table, truth = make(rows, np.random.default_rng(seed))
    return table.to_pylist(), truth.astype(bool)


def real(folder: Path, data: Path, name: str, seed: int) -> World:
    table = read_table(str(data / f"{name}.parquet"))
    rng = np.random.default_rng([seed, 7])
    table = table.take(rng.permutation(table.num_rows)[:_READ])
    truth = np.asarray(table.column("label").to_numpy() == 1)
    table = table.drop_columns([c for c in NOT_FEATURES if c in table.column_names])
    normal, bad = np.flatnonzero(~truth).tolist(), np.flatnonzero(truth).tolist()

    def drawn(size: int) -> np.ndarray:
        hidden = round(ANOMALOUS * size)
        taken = [*normal[: size - hidden], *bad[:hidden]]
        del normal[: size - hidden], bad[:hidden]
        return rng.permutation(taken)

    def part(size: int) -> tuple[Records, np.ndarray]:
        rows = drawn(size)
        return table.take(rows).to_pylist(), truth[rows]

    rows, shared = drawn(BASE), np.array(bad[:SHARED])
    del bad[:SHARED]
    rounds = [part(TRAFFIC) for _ in range(ROUNDS)]
    return World(_base(folder, table, np.r_[rows, shared], shared), rounds, part(TESTED))


def _base(folder: Path, table: pa.Table, rows: np.ndarray, shared: np.ndarray) -> Path:
    label = pa.array(np.ones(len(rows), np.int8), mask=~np.isin(rows, shared))
    pq.write_table(table.take(rows).append_column("label", label), folder / "base.parquet")
    return folder / "base.parquet"


def ranks_of(bundle: Bundle, records: Records) -> np.ndarray:
    return rank_verdicts(bundle, [Verdict("", "", True, record, 1.0, False) for record in records])


def quality(bundle: Bundle, world: World) -> float:
    records, truth = world.test
    return float(average_precision_score(truth, ranks_of(bundle, records)))


@dataclass(frozen=True)
class Ended:
    """The quality of what serves after each retraining, whether it is new, and whose labels were left out."""

    quality: list[float]
    accepted: list[bool]
    left_out: list[str | None]


def work(folder: Path, champion: Bundle, world: World, planted: int) -> Ended:
    """Ten rounds; `planted` labels of the poisoner in each."""
    said: dict[str, tuple[Verdict, int]] = {}
    known, waiting = -1, set[str]()
    ended = Ended([], [], [])
    for number, (records, truth) in enumerate(world.rounds):
        rank = ranks_of(champion, records)
        order = np.argsort(-rank, kind="stable")
        free = [i for i in order[REVIEWED:] if not truth[i] and rank[i] >= CONTRADICTED][:planted]
        for key, rows in ((HONEST, order[:REVIEWED]), (POISONER, free)):
            for i in rows:
                digest = record_digest(records[i])
                anomaly = bool(truth[i]) or key == POISONER
                said.setdefault(
                    digest, (Verdict(digest, digest[:8], anomaly, records[i], 1.0, False, key), number)
                )
        if number % BETWEEN < BETWEEN - 1:
            continue
        verdicts = [
            msgspec.structs.replace(verdict, known=at <= known)
            for digest, (verdict, at) in sorted(said.items())
            if digest not in waiting
        ]
        result = retrained(folder / str(number), champion, verdicts)
        waiting |= {one.digest for one in result.doubted}
        if result.accepted:
            champion, known = read_bundle(folder / str(number) / "bundle"), number
        ended.quality.append(quality(champion, world))
        ended.accepted.append(result.accepted)
        ended.left_out.append(result.left_out)
    return ended


def retrained(folder: Path, champion: Bundle, verdicts: Sequence[Verdict]) -> TrainingResult:
    folder.mkdir()
    request = TrainingRequest(champion=str(champion.path), version=champion.version, budget=0.01)
    (folder / "request.json").write_bytes(msgspec.json.encode(request))
    (folder / "traffic.jsonl").write_text("")
    (folder / "labels.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, verdicts)))
    with contextlib.redirect_stdout(io.StringIO()):
        return retrain(folder)


def compare(name: str, world: World, folder: Path) -> tuple[float, float]:
    """The quality at the end without him and beside him, told on the way."""
    champion = train(folder / "champion", str(world.base), recipe=SMALL)
    both = []
    for planted in (0, PLANTED):
        (folder / str(planted)).mkdir()
        ended = work(folder / str(planted), champion, world, planted)
        both.append(ended)
    alone, beside = both
    print(
        f"| {name} | {quality(champion, world):.3f} | {_shown(alone)} | {_shown(beside)} | "
        f"{beside.quality[-1] - alone.quality[-1]:+.3f} |",
        flush=True,
    )
    return alone.quality[-1], beside.quality[-1]


def _shown(ended: Ended) -> str:
    return ", ".join(
        f"{quality:.3f}{'' if accepted else ' refused'}{f' without {key}' if key else ''}"
        for quality, accepted, key in zip(ended.quality, ended.accepted, ended.left_out, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=["payments", *SETS])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    options = parser.parse_args()
    data = bench_data("data")
    print("| data | before | without him | beside him | difference |\n|---|---|---|---|---|")
    found = []
    for name in options.sets:
        for seed in options.seeds:
            with TemporaryDirectory() as made:
                folder = Path(made)
                if name == "payments":
                    world = payments(folder, seed)
                elif data is None:
                    continue
                else:
                    world = real(folder, data.parent, name, seed)
                found.append(compare(f"{name} {seed}", world, folder))
    alone, beside = np.array(found).T
    lost = beside - alone
    print(f"\n{len(found)} runs: {lost.mean():+.3f} on the mean, {lost.min():+.3f} at worst")


if __name__ == "__main__":
    main()

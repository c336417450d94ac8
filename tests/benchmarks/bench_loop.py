"""`make bench-loop`: does learning from an analyst find more anomalies than not learning?

A simulated analyst, over HTTP against the real service and its worker. Half of a set's rows are base data
with five labelled anomalies; the other half is traffic, scored anew in every round as far as nobody has
judged it. In each of ten rounds the analyst reviews the 20 events of GET /queue, labels them truly, and
waits for the retraining. The others see the same rows and labels and review their own 20 highest.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest

from models.schema import FeatureSchema
from models.tables import Arrays, to_arrays
from tests.journey.loop import ended, logged, serving, until
from training.columns import infer_schema
from training.commands import ProgressStyle, train

DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = (
    "adbench/19_landsat",
    "unsw_nb15/data:Fuzzers",
    "adbench/7_Cardiotocography",
    "adbench/23_mammography",
    "unsw_nb15/data:DoS",
    "adbench/28_pendigits",
    "adbench/35_SpamBase",
    "adbench/5_campaign",
    "iot23/data:C&C",
    "adbench/27_PageBlocks",
)
"""A name after the colon is a class of anomalies: the others are left out."""
NOT_FEATURES = ["label", "anomaly_class", "attack_name", "split"]
ROWS = 4_000
ANOMALOUS = 0.05
"""Most of a set's rows that are anomalies: what is rare in life is rare here."""
STARTING_LABELS = 5


@dataclass(frozen=True)
class Pool:
    """Base rows with few labels, traffic rows with their truth."""

    name: str
    base: pa.Table
    base_labels: np.ndarray  # 1, or -1 for unlabelled
    traffic: pa.Table
    truth: np.ndarray

    def write_base(self, folder: Path) -> str:
        """The file of base rows and their labels, as `nearnorm train` reads it."""
        label = pa.array(self.base_labels, mask=self.base_labels < 0)
        pq.write_table(self.base.append_column("label", label), folder / "base.parquet")
        return str(folder / "base.parquet")

    def arrays(self) -> tuple[FeatureSchema, Arrays, Arrays]:
        """Both by the schema of the base rows, as our detector sees them."""
        schema = infer_schema(self.base, {}).schema
        return schema, to_arrays(self.base, schema), to_arrays(self.traffic, schema)

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Both as the others need them: means for gaps, a column for each category."""
        schema, base, traffic = self.arrays()
        present = ~np.isnan(base.numeric)
        means = np.nansum(base.numeric, axis=0) / np.maximum(present.sum(axis=0), 1)

        def matrix(arrays: Arrays) -> np.ndarray:
            numbers = np.where(np.isnan(arrays.numeric), means, arrays.numeric)
            kinds = [
                np.eye(2 + len(feature.categories))[arrays.codes[:, j]]
                for j, feature in enumerate(schema.categorical)
            ]
            return np.hstack([numbers, *kinds])

        return matrix(base), matrix(traffic)


def load(name: str, seed: int) -> Pool:
    """ROWS random different rows of a set, half of them base rows."""
    file, _, only = name.partition(":")
    table = pq.read_table(DATA / f"{file}.parquet")
    labels = table.column("label").to_numpy().astype(int)
    allowed = np.ones(len(labels), bool)
    if only:
        kinds = np.array(table.column("anomaly_class").to_pylist(), dtype=str)
        allowed = (labels == 0) | (kinds == only)
    features = table.drop_columns([c for c in NOT_FEATURES if c in table.column_names])
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.flatnonzero(allowed))[: 4 * ROWS]
    values = features.take(order).to_pylist()
    different = {tuple(row.values()): at for at, row in zip(order.tolist(), values, strict=True)}
    rows = np.array(list(different.values()))
    anomalous = rows[labels[rows] == 1]
    normal = rows[labels[rows] == 0][: ROWS - int(ANOMALOUS * ROWS)]
    anomalous = anomalous[: int(ANOMALOUS / (1 - ANOMALOUS) * len(normal))]
    base, traffic = (
        rng.permutation(np.concatenate([normal[half::2], anomalous[half::2]])) for half in (0, 1)
    )
    known = np.full(len(base), -1, np.int8)
    known[rng.choice(np.flatnonzero(labels[base] == 1), STARTING_LABELS, replace=False)] = 1
    return Pool(name, features.take(base), known, features.take(traffic), labels[traffic])


def by_model(
    pool: Pool, rounds: int, reviews: int, rank: Callable[..., np.ndarray], learn: bool
) -> list[int]:
    """Anomalies found after each round by one of the others: its highest rows are reviewed, then it is
    fitted anew."""
    base, traffic = pool.matrices()
    seen = np.zeros(len(traffic), bool)
    found = []
    scores = rank(base, pool.base_labels, traffic, np.zeros(0, int), np.zeros(0))
    for _ in range(rounds):
        order = np.argsort(-np.where(seen, -np.inf, scores), kind="stable")[:reviews]
        seen[order] = True
        found.append(int(pool.truth[seen].sum()))
        if learn:
            judged = np.flatnonzero(seen)
            scores = rank(base, pool.base_labels, traffic, judged, pool.truth[judged])
    return found


def isolation(base: np.ndarray, labels: np.ndarray, traffic: np.ndarray, *_: np.ndarray) -> np.ndarray:
    forest = IsolationForest(n_estimators=300, random_state=0).fit(np.concatenate([base, traffic]))
    return np.asarray(-forest.score_samples(traffic))


def positive_unlabelled(fit: Callable[[], Any]) -> Callable[..., np.ndarray]:
    """Labelled anomalies against unlabelled base rows and confirmed normals. Rows that are still to be
    ranked are left out of the fit: trees remember theirs, and would rank them all as normal."""

    def rank(
        base: np.ndarray, labels: np.ndarray, traffic: np.ndarray, judged: np.ndarray, truth: np.ndarray
    ) -> np.ndarray:
        rows = np.concatenate([base, traffic[judged]])
        target = np.concatenate([labels == 1, truth == 1])
        return np.asarray(fit().fit(rows, target.astype(int)).predict_proba(traffic)[:, 1])

    return rank


def trees() -> ExtraTreesClassifier:
    return ExtraTreesClassifier(300, class_weight="balanced", random_state=0, n_jobs=1)


def boosted() -> Any:
    from catboost import CatBoostClassifier  # type: ignore[import-not-found]  # not in `dev`: pip install it

    return CatBoostClassifier(
        verbose=False, auto_class_weights="Balanced", random_seed=0, thread_count=1, allow_writing_files=False
    )


def ours(pool: Pool, rounds: int, reviews: int, budget: str, seed: int) -> dict[str, Any]:
    """Over HTTP. Tells what was found after each round, how jobs ended and how long they took."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        train(pool.write_base(home), home / "bundle", seed=seed, progress=ProgressStyle.OFF)
        from models.store import ModelStore

        store = ModelStore(home / "models")
        store.activate(store.publish(home / "bundle"), by="bench")
        records = pool.traffic.to_pylist()
        found: list[int] = []
        states: list[str] = []
        seconds: list[float] = []
        why: list[str] = []
        judged: dict[int, int] = {}
        with serving(home, audit_rate="1.0", retrain_after=str(reviews)) as client:
            client.put("/policy", json={"budget": budget}).raise_for_status()
            first: list[float] = []
            for _ in range(rounds):
                left = [i for i in range(len(records)) if i not in judged]
                answer = client.post("/score", json={"records": [records[i] for i in left], "ids": left})
                results = answer.raise_for_status().json()["results"]
                first = first or [r.get("score", 0.0) for r in results]
                until(lambda: logged(client), 60)
                queue = client.get("/queue", params={"limit": reviews}).json()["queue"]
                chosen = [int(item["id"]) for item in queue]
                judged |= {i: int(pool.truth[i]) for i in chosen}
                items = [
                    {"event_id": item["event_id"], "label": "anomaly" if judged[i] else "normal"}
                    for item, i in zip(queue, chosen, strict=True)
                ]
                found.append(sum(judged.values()))
                started = time.perf_counter()
                told = client.post("/feedback", json={"labels": items}).raise_for_status().json()
                job = ended(client, told["retraining"]["job_id"])
                seconds.append(round(time.perf_counter() - started, 1))
                states.append(job["state"])
                why += job["reasons"][:1] if job["state"] != "succeeded" else []
                wait_for(client, job)
        order = np.argsort(-np.array(first), kind="stable")
        truth = pool.truth[order].cumsum()
        still = [int(truth[min((n + 1) * reviews, len(truth)) - 1]) for n in range(rounds)]
        return {"ours": found, "no learning": still, "jobs": states, "seconds": seconds, "why": why}


def wait_for(client: Any, job: dict[str, Any]) -> None:
    """Until the new version serves."""
    while job.get("activated") and client.get("/readyz").json()["models"][0]["version"] != job["version"]:
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--reviews", type=int, default=20)
    parser.add_argument("--budget", default="2%")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not there: the sets of this benchmark lie beside the project")
    others = {"PU ExtraTrees": (positive_unlabelled(trees), True), "isolation forest": (isolation, False)}
    try:
        boosted()
        others["PU CatBoost"] = (positive_unlabelled(boosted), True)
    except ModuleNotFoundError:
        print("catboost is not installed: left out", file=sys.stderr)
    for name in given.sets:
        pool = load(name, given.seed)
        row: dict[str, Any] = {"set": name, "rows": len(pool.truth), "anomalies": int(pool.truth.sum())}
        row |= ours(pool, given.rounds, given.reviews, given.budget, given.seed)
        for title, (rank, learn) in others.items():
            row[title] = by_model(pool, given.rounds, given.reviews, rank, learn)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

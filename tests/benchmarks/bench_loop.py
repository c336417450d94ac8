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
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest

from tests.journey.loop import ended, serving
from training.commands import ProgressStyle, train

DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = (
    "adbench/28_pendigits",
    "adbench/23_mammography",
    "adbench/19_landsat",
    "adbench/7_Cardiotocography",
    "adbench/5_campaign",
    "adbench/35_SpamBase",
    "adbench/27_PageBlocks",
    "adbench/40_vowels",
    "unsw_nb15/data",
    "iot23/data",
)
NOT_FEATURES = ["label", "anomaly_class", "attack_name", "split"]
ROWS = 4_000
STARTING_LABELS = 5


@dataclass(frozen=True)
class Pool:
    """Base rows with few labels, traffic rows with their truth."""

    name: str
    base: pd.DataFrame
    base_labels: np.ndarray  # 1, or NaN
    traffic: pd.DataFrame
    truth: np.ndarray

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Both as numbers: medians for gaps, one-hot columns for texts, as the others need it."""
        both = pd.get_dummies(pd.concat([self.base, self.traffic]), dummy_na=False, dtype=float)
        both = both.fillna(both.median()).fillna(0.0)
        cut = len(self.base)
        return both.to_numpy(float)[:cut], both.to_numpy(float)[cut:]


def load(name: str, seed: int) -> Pool:
    frame = pd.read_parquet(DATA / f"{name}.parquet")
    labels = frame["label"].to_numpy(int)
    features = frame.drop(columns=[c for c in NOT_FEATURES if c in frame]).drop_duplicates()
    labels = labels[features.index.to_numpy()]
    features = features.reset_index(drop=True)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))[:ROWS]
    half = len(rows) // 2
    base, traffic = rows[:half], rows[half:]
    known = np.full(half, np.nan)
    anomalies = np.flatnonzero(labels[base] == 1)
    known[rng.choice(anomalies, min(STARTING_LABELS, len(anomalies)), replace=False)] = 1.0
    return Pool(
        name,
        features.iloc[base].reset_index(drop=True),
        known,
        features.iloc[traffic].reset_index(drop=True),
        labels[traffic],
    )


def by_model(
    pool: Pool, rounds: int, reviews: int, rank: Callable[..., np.ndarray], learn: bool
) -> list[int]:
    """Anomalies found after each round by one of the others: its highest rows are reviewed, then it is
    fitted anew."""
    base, traffic = pool.matrices
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
    """Labelled anomalies against everything else: unlabelled rows and confirmed normals."""

    def rank(
        base: np.ndarray, labels: np.ndarray, traffic: np.ndarray, judged: np.ndarray, truth: np.ndarray
    ) -> np.ndarray:
        rows = np.concatenate([base, traffic])
        target = np.concatenate([labels == 1, np.zeros(len(traffic), bool)])
        target[len(base) + judged] = truth == 1
        return np.asarray(fit().fit(rows, target.astype(int)).predict_proba(traffic)[:, 1])

    return rank


def trees() -> ExtraTreesClassifier:
    return ExtraTreesClassifier(300, class_weight="balanced", random_state=0, n_jobs=1)


def boosted() -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        verbose=False, auto_class_weights="Balanced", random_seed=0, thread_count=1, allow_writing_files=False
    )


def ours(pool: Pool, rounds: int, reviews: int, budget: str) -> dict[str, Any]:
    """Over HTTP. Tells what was found after each round, how jobs ended and how long they took."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        data = home / "base.parquet"
        pool.base.assign(label=pool.base_labels).to_parquet(data)
        train(str(data), home / "bundle", progress=ProgressStyle.OFF)
        from models.store import ModelStore

        store = ModelStore(home / "models")
        store.activate(store.publish(home / "bundle"), by="bench")
        records = json.loads(pool.traffic.to_json(orient="records"))
        found, states, seconds, why = [], [], [], []
        judged: dict[int, int] = {}
        with serving(home, audit_rate="1.0", retrain_after=str(reviews)) as client:
            client.put("/policy", json={"budget": budget}).raise_for_status()
            first: list[float] = []
            for _ in range(rounds):
                left = [i for i in range(len(records)) if i not in judged]
                answer = client.post("/score", json={"records": [records[i] for i in left], "ids": left})
                results = answer.raise_for_status().json()["results"]
                first = first or [r.get("score", 0.0) for r in results]
                time.sleep(0.5)  # the event log's group
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
        row |= ours(pool, given.rounds, given.reviews, given.budget)
        for title, (rank, learn) in others.items():
            row[title] = by_model(pool, given.rounds, given.reviews, rank, learn)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

"""The story, from a sensor's log to a model that tells break-ins from the noise of probes."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from examples.network.connections import COLUMNS, RARE, connections
from examples.rounds import FIRST, FOREST, SERVED, Round, compared, isolation_forest
from examples.service import nearnorm, retrained, scores_of, serve_model, serving
from nearnorm import Client

KNOWN = "guess_passwd"
LABELLED = 4  # connections of this kind that somebody has told of before
BUDGET = "1% of normal"


class Analyst:
    """Judges connections, and is always right. Those that are equal in `columns`, numbers that the model
    reads, are of one kind throughout the set."""

    def __init__(self, client: Client, every: pd.DataFrame, columns: Sequence[str]) -> None:
        self.client, self.columns = client, columns
        records = every[list(columns)].to_dict("records")
        self.kinds = {self._of(record): kind for record, kind in zip(records, every["kind"], strict=True)}

    def judge(self, event_ids: Iterable[str], records: Iterable[Mapping[str, Any]]) -> int:
        """Label these; how many are not what the sensor sees all day."""
        items: list[Any] = [
            {"event_id": event_id, "label": "anomaly" if self.kinds[self._of(record)] in RARE else "normal"}
            for event_id, record in zip(event_ids, records, strict=True)
        ]
        if items:
            self.client.label(items, analyst="mei")
        return sum(item["label"] == "anomaly" for item in items)

    def _of(self, record: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(float(record[name]) for name in self.columns)


def tell(folder: Path, batches: int, seed: int, config: Path | None = None) -> list[Round]:
    """Half of the connections are the log that is trained on, the other half comes in `batches`. Files and
    the service's state lie in `folder`.

    `config`: as for `nearnorm train`. Raises Missing."""
    every = connections(seed)
    folder.mkdir(parents=True, exist_ok=True)
    home, features = folder / "home", list(COLUMNS)
    past, later = every[: len(every) // 2], every[len(every) // 2 :]
    known = past.index[past["kind"] == KNOWN][:LABELLED]
    labels = pd.Series("", past.index).where(~past.index.isin(known), "1")
    past[features].assign(label=labels).to_csv(folder / "log.csv", index=False)
    print(nearnorm(home, "inspect", folder / "log.csv", "--write", folder / "schema.toml"))
    print("Every guess is right. Training ...")
    words: list[str | Path] = [
        "--schema",
        folder / "schema.toml",
        "--out",
        folder / "model",
        "--progress",
        "off",
    ]
    words += ["--config", config] if config else []
    nearnorm(home, "train", folder / "log.csv", *words)
    serve_model(home, folder / "model")

    rounds = []
    with serving(home) as url, Client(url) as client:
        client.set_policy(BUDGET)
        numbers = [name for name in past[features].select_dtypes("number") if past[name].nunique() > 1]
        analyst = Analyst(client, every, numbers)
        review(client, analyst)
        print(f"Then {retrained(client)}", flush=True)
        for number, places in enumerate(np.array_split(np.arange(len(later)), batches)):
            review(client, analyst)
            batch = later.iloc[places]
            rows = batch[features]
            bad = batch["kind"].isin(RARE).to_numpy()
            scored = client.score(rows.to_dict("records"))
            alerts = np.array(scored.columns["anomaly"])
            event_ids = np.array(scored.columns["event_id"], dtype=object)
            analyst.judge(event_ids[alerts], rows[alerts].to_dict("records"))
            retraining = retrained(client)
            scores = {
                SERVED: np.array(scored.columns["score"]),
                FIRST: scores_of(home, folder / "model", rows),
                FOREST: isolation_forest(past[features], rows, seed),
            }
            rounds.append(compared(f"batch {number + 1}", bad, alerts, scores, retraining))
            print(rounds[-1], f"         {by_kind(batch, alerts)}; then {retraining}", sep="\n", flush=True)
    return rounds


def review(client: Client, analyst: Analyst) -> None:
    """Judge what the queue offers of the serving model's reference: no anomaly hidden there shall hold the
    threshold up."""
    offered = list(takewhile(lambda item: item["why"] == "reference", client.queue()))
    found = analyst.judge((i["event_id"] for i in offered), (i["record"] for i in offered))
    print(f"Of {len(offered)} connections of the reference to review {found} are of rare kinds.", flush=True)


def by_kind(batch: pd.DataFrame, alerts: np.ndarray) -> str:
    """How many of each rare kind alerted."""
    alerted = {kind: int(alerts[batch["kind"] == kind].sum()) for kind in RARE}
    return ", ".join(f"{kind}: {alerted[kind]} of {int((batch['kind'] == kind).sum())}" for kind in RARE)

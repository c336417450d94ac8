"""A poisoner with a feedback key works for ten rounds beside an honest analyst: the model stays as good."""

import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.samples.make_payments import make
from tests.journey.loop import NEARNORM, ended, serving
from tests.service.running import home_with
from tests.service.waiting import until
from tests.training.conftest import PAYMENTS, train
from tests.training.samples import quick

ROUNDS, TRAFFIC, REVIEWED, PLANTED, CLUMSY = 10, 600, 8, 12, 3
BETWEEN = 5  # rounds from one retraining to the next
BASE_ROWS = 800
AS_GOOD = 0.1
"""Models of so few trees differ by half of that by the random slice of traffic that they saw; what he plants
costs up to 0.26."""


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of some of the payments, all labelled ones among them: trainings are short."""
    folder = tmp_path_factory.mktemp("poisoner")
    table = pq.read_table(PAYMENTS)
    labelled = np.flatnonzero(table.column("label").is_valid().to_numpy())
    pq.write_table(table.take(np.union1d(np.arange(BASE_ROWS), labelled)), folder / "base.parquet")
    recipe = Recipe(fit=quick(forests=1, trees=20, members=1, joint_epochs=1), columns={})
    return train(folder / "payments", str(folder / "base.parquet"), recipe=recipe)


def key(home: Path, name: str, *roles: str) -> dict[str, str]:
    """The header of a new API key."""
    options = [part for role in roles for part in ("--role", role)]
    environment = {**os.environ, "NEARNORM_HOME": str(home)}
    made = subprocess.run(
        [NEARNORM, "keys", "create", name, *options],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return {"Authorization": f"Bearer {made.stdout.split()[-1]}"}


def payments(rows: int, seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Records and the truth, which no label but an honest one tells."""
    table, truth = make(rows, np.random.default_rng(seed))
    return table.to_pylist(), truth


def strangest(client: httpx.Client, records: list[dict[str, Any]]) -> np.ndarray:
    answer = client.post("/score", json={"records": records}).json()["results"]
    return np.argsort([-one["score"] for one in answer], kind="stable")


def quality(client: httpx.Client) -> float:
    """Average precision on payments that nobody labels."""
    records, truth = payments(2_000, seed=99)
    answer = client.post("/score", json={"records": records}).json()["results"]
    return float(average_precision_score(truth, [one["score"] for one in answer]))


def retrained(client: httpx.Client) -> dict[str, Any]:
    job = ended(client, client.post("/jobs").json()["job_id"])
    assert job["state"] in ("succeeded", "refused"), job
    if job.get("activated"):
        until(lambda: client.get("/readyz").json()["models"][0]["version"] == job["version"], 10)
    return job


def after_ten_rounds(home: Path, beside_him: bool) -> float:
    """The quality of what serves after an honest analyst has worked, alone or beside a poisoner, who is told
    of and whom nobody puts in quarantine."""
    eve, soc = key(home, "eve", "feedback"), key(home, "soc", "feedback", "operate", "score")
    with serving(home, retrain_after="1000") as client:
        client.headers.update(soc)
        for number in range(ROUNDS):
            records, truth = payments(TRAFFIC, seed=number)
            order = strangest(client, records)
            honest = [
                {"record": records[i], "label": "anomaly" if truth[i] else "normal"} for i in order[:REVIEWED]
            ]
            client.post("/feedback", json={"labels": honest}).raise_for_status()
            if beside_him:
                normal = [i for i in order[REVIEWED:] if truth[i] == 0]
                lies = [
                    {"record": records[i], "label": "anomaly", "analyst": name}
                    for i in (*normal[:PLANTED], *normal[-CLUMSY:])
                    for name in ("eve", "mallory")
                ]
                client.post("/feedback", json={"labels": lies}, headers=eve).raise_for_status()
            if number % BETWEEN == BETWEEN - 1:
                retrained(client)
        trail = client.get("/audit", params={"limit": 200}).json()["audit"]
        named = {entry["detail"]["key"] for entry in trail if entry["action"] == "labels.left_out"}
        assert named == ({"eve"} if beside_him else set())
        doubted = client.get("/queue", params={"limit": 200}).json()["queue"]
        waiting = [item for item in doubted if item["why"] == "second_opinion"]
        assert bool(waiting) is beside_him
        assert {item["said"] for item in waiting} <= {"anomaly"}
        return quality(client)


@pytest.mark.timeout(900)  # four trainings and more, on a machine with other work
def test_a_poisoner_who_plants_for_ten_rounds_leaves_a_model_as_good_as_without_him(
    champion: Bundle, tmp_path: Path
) -> None:
    without_him = after_ten_rounds(home_with(tmp_path / "without", champion), beside_him=False)
    beside_him = after_ten_rounds(home_with(tmp_path / "beside", champion), beside_him=True)
    assert beside_him > without_him - AS_GOOD

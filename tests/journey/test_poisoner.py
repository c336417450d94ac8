"""A poisoner with a feedback key works for ten rounds beside an honest analyst: the model stays as good."""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from nearnorm import Client
from nearnorm.client.answers import LabelItem
from nearnorm.models.bundle.bundle import Bundle
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.samples.make_payments import make
from tests.journey.loop import LONGEST_JOB, NEARNORM, running, serves
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


def key(home: Path, name: str, *roles: str) -> str:
    """A new API key."""
    options = [part for role in roles for part in ("--role", role)]
    environment = {**os.environ, "NEARNORM_HOME": str(home)}
    made = subprocess.run(
        [NEARNORM, "keys", "create", name, *options],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return made.stdout.split()[-1]


def payments(rows: int, seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Records and the truth, which no label but an honest one tells."""
    table, truth = make(rows, np.random.default_rng(seed))
    return table.to_pylist(), truth


def strangest(client: Client, records: list[dict[str, Any]]) -> np.ndarray:
    scores = client.score(records).columns["score"]
    return np.argsort(-np.array(scores), kind="stable")


def quality(client: Client) -> float:
    """Average precision on payments that nobody labels."""
    records, truth = payments(2_000, seed=99)
    return float(average_precision_score(truth, client.score(records).columns["score"]))


def retrain(client: Client) -> None:
    job = client.wait(client.retrain()["job_id"], timeout=LONGEST_JOB)
    assert job["state"] in ("succeeded", "refused"), job
    if job.get("activated"):
        until(lambda: serves(client, job["version"]), 10)


def after_ten_rounds(home: Path, beside_him: bool) -> float:
    """The quality of what serves after an honest analyst has worked, alone or beside a poisoner, who is told
    of and whom nobody puts in quarantine."""
    eve, soc = key(home, "eve", "feedback"), key(home, "soc", "feedback", "operate", "score")
    with (
        running(home, retrain_after="1000") as url,
        Client(url, api_key=soc) as client,
        Client(url, api_key=eve) as poisoner,
    ):
        for number in range(ROUNDS):
            records, truth = payments(TRAFFIC, seed=number)
            order = strangest(client, records)
            client.label(
                LabelItem(record=records[i], label="anomaly" if truth[i] else "normal")
                for i in order[:REVIEWED]
            )
            if beside_him:
                normal = [i for i in order[REVIEWED:] if truth[i] == 0]
                poisoner.label(
                    LabelItem(record=records[i], label="anomaly", analyst=name)
                    for i in (*normal[:PLANTED], *normal[-CLUMSY:])
                    for name in ("eve", "mallory")
                )
            if number % BETWEEN == BETWEEN - 1:
                retrain(client)
        trail = client.audit(limit=200)
        named = {entry["detail"]["key"] for entry in trail if entry["action"] == "labels.left_out"}
        assert named == ({"eve"} if beside_him else set())
        waiting = [item for item in client.queue(limit=200) if item["why"] == "second_opinion"]
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

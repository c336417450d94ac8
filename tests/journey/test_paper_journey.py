"""The published method goes the whole way too: trained, served, labelled, retrained through the gate."""

import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq

from nearnorm.client.answers import LabelItem
from tests.journey.loop import LONGEST_JOB, NEARNORM, serving
from tests.training.conftest import SAMPLES

QUICK = '[fit]\npreset = "paper"\nrepresentation_epochs = 1\njoint_epochs = 2\n'


def test_the_paper_preset_is_trained_imported_served_labelled_and_retrained(tmp_path: Path) -> None:
    home, bundle = tmp_path / "home", tmp_path / "bundle"
    environment = os.environ | {"NEARNORM_HOME": str(home)}

    def nearnorm(*words: str) -> list[str]:
        run = subprocess.run([NEARNORM, *words], env=environment, capture_output=True, text=True, timeout=180)
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()

    (tmp_path / "quick.toml").write_text(QUICK)
    data = str(tmp_path / "rows.parquet")
    pq.write_table(pq.read_table(SAMPLES / "shuttle_train.parquet").slice(0, 1_500), data)
    words = ["--out", str(bundle), "--config", str(tmp_path / "quick.toml"), "--progress", "off"]
    nearnorm("train", data, *words)
    version = nearnorm("models", "import", str(bundle))[-1]
    nearnorm("models", "activate", version)

    held_out = pq.read_table(SAMPLES / "shuttle_held_out.parquet").to_pylist()
    odd = [row for row in held_out if row["label"] == 1][:12]
    usual = [row for row in held_out if row["label"] == 0][:12]
    labels = [row.pop("label") for row in odd + usual]
    with serving(home, audit_rate="1.0", retrain_after="1000") as client:
        scores = client.score(odd + usual, explain=True)
        assert scores.version == version
        assert client.manifest(version)["core"]["config"]["fit"]["preset"] == "paper"
        assert all(0 <= score["score"] <= 1 and "distance" in score for score in scores)
        verdicts = [
            LabelItem(event_id=score["event_id"], label="anomaly" if label else "normal")
            for score, label in zip(scores, labels, strict=True)
        ]
        receipts = client.label(verdicts, analyst="mei")["receipts"]
        job = client.wait(client.retrain()["job_id"], timeout=LONGEST_JOB)
        assert job["state"] in ("succeeded", "refused"), job
        assert job["reasons"]  # of the gate
        if job["state"] == "succeeded":
            assert client.manifest(job["version"])["core"]["config"]["fit"]["preset"] == "paper"
            assert client.receipt(receipts[0]["feedback_id"])["status"] == "learned"
        again = client.score(odd[:1])[0]
        assert again["matched_feedback"]["label"] == "anomaly"
        assert again["anomaly"] is True

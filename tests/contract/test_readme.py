"""README's requests are sent as they stand, in their order, to a service with the starter model."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.running import serving

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SERVED = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with serving(create_app(settings)) as client:
        yield client


def requests() -> list[str]:
    return re.findall(r"```sh\n(curl .*?)\n```", README, re.DOTALL)


def send(command: str, service: httpx.Client) -> Any:
    address = str(service.base_url).rstrip("/")
    shell = command.replace(SERVED, address)
    sent = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    return json.loads(sent.stdout)


def test_the_walk_scores_labels_reviews_sets_a_budget_and_asks_for_a_job(service: httpx.Client) -> None:
    score, feedback, queue, policy, retrain, jobs = requests()
    first = {result["id"]: result for result in send(score, service)["results"]}
    assert first["odd"]["anomaly"]
    assert not first["quiet"]["anomaly"]
    assert first["odd"]["reasons"]
    assert first["odd"]["event_id"]

    receipt = send(feedback, service)["receipts"][0]
    again = {result["id"]: result for result in send(score, service)["results"]}
    assert again["odd"]["matched_feedback"]["feedback_id"] == receipt["feedback_id"]
    assert "matched_feedback" not in again["quiet"]

    offered = send(queue, service)["queue"]
    assert "reference" not in {item["why"] for item in offered}, "the starter's reference needs no review"
    assert send(policy, service)["policy"]["promised"] == {
        "share_of_normal": 0.02,
        "reference": "a sample known to be normal",
    }

    asked = send(retrain, service)
    assert asked["state"] == "queued"
    assert [job["job_id"] for job in send(jobs, service)["jobs"]] == [asked["job_id"]]


def test_every_file_that_readme_names_is_there() -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert linked
    assert [name for name in linked if not (ROOT / name).is_file()] == []


def test_every_verb_that_readme_names_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"`?make ([a-z][a-z-]+)", README))
    assert {"run", "test"} <= verbs
    assert [verb for verb in sorted(verbs) if not re.search(rf"^{verb}:", makefile, re.M)] == []

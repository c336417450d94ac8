"""A service of an earlier release that runs beside one of today, which has brought the ledger up to date."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.bundles import make_bundle
from tests.service.waiting import until
from tests.upgrades.conftest import ODD, Beside, asked, label, run, scored
from tests.upgrades.releases import RELEASES


def test_the_old_one_answers_while_the_ledger_is_migrated_and_after(beside: Beside) -> None:
    assert len(beside.meanwhile) >= 9
    assert set(beside.meanwhile) <= {200, 201}
    asked(beside.old, beside.events)
    told = [json.loads(line) for line in beside.log.read_text().splitlines()]
    assert [line for line in told if line["level"] == "error"] == []
    assert failures(beside) == 0
    assert "\nnearnorm_problems 0.0\n" in beside.old.get("/metrics").text


def failures(beside: Beside) -> float:
    found = re.findall(
        r"^nearnorm_background_failures_total\{.*\} (\S+)", beside.old.get("/metrics").text, re.M
    )
    return sum(map(float, found))


def test_what_the_old_one_told_the_new_one_tells(beside: Beside) -> None:
    """Of what nothing changed since: more fields, but no other values."""
    new = asked(beside.new, beside.events)
    for path in ("/models", "/claims?analyst=mei", *(f"/events/{event}" for event in beside.events)):
        assert within(beside.before[path], new[path]) == [], path


def within(old: object, new: object, where: str = "") -> list[str]:
    """Where what is in `old` is not in `new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [wrong for key in old for wrong in within(old[key], new.get(key), f"{where}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [wrong for i, one in enumerate(old) for wrong in within(one, new[i], f"{where}[{i}]")]
    return [] if old == new else [f"{where}: {old} is {new}"]


def matched(beside: Beside, one: str, **changed: float) -> list[str]:
    """What a record's verdict is, where it is scored by one of them."""
    client = beside.old if one == "old" else beside.new
    answer = client.post("/score", json={"records": [ODD | changed]}).json()["results"][0]
    return [answer["matched_feedback"]["label"]] if answer.get("matched_feedback") else []


@pytest.mark.parametrize(("by", "seen_by"), [("old", "new"), ("new", "old")])
def test_a_verdict_that_one_takes_is_the_others_too(beside: Beside, by: str, seen_by: str) -> None:
    client = beside.old if by == "old" else beside.new
    changed = {"f5": 77.0 if by == "old" else 78.0}
    label(client, scored(client, **changed), "anomaly", "mei").raise_for_status()
    until(lambda: matched(beside, seen_by, **changed) == ["anomaly"])


@pytest.mark.parametrize(("by", "seen_by", "budget"), [("new", "old", "3%"), ("old", "new", "2%")])
def test_a_policy_that_one_takes_is_the_others_too(
    beside: Beside, by: str, seen_by: str, budget: str
) -> None:
    """The second one puts back what was there."""
    clients = {"old": beside.old, "new": beside.new}
    clients[by].put("/policy", json={"budget": budget}).raise_for_status()
    until(lambda: clients[seen_by].get("/policy").json()["policy"]["budget"] == budget)


def test_webhooks_that_one_makes_the_other_tells_of(beside: Beside) -> None:
    """The old one knows of no models that a webhook is bound to: the new one reads it as bound to none."""
    clients = {"old": beside.old, "new": beside.new}
    made = {
        name: client.post("/webhooks", json={"url": f"http://127.0.0.1:9/{name}", "kinds": ["drift"]})
        for name, client in clients.items()
    }
    assert {answer.status_code for answer in made.values()} == {201}
    for client in clients.values():
        urls = {one["url"] for one in client.get("/webhooks").raise_for_status().json()["webhooks"]}
        assert urls == {f"http://127.0.0.1:9/{name}" for name in clients}


def test_a_model_that_the_new_one_activates_serves_in_both_and_rolls_back_in_both(
    beside: Beside, tmp_path: Path
) -> None:
    first = beside.new.get("/readyz").json()["models"]
    bundle = make_bundle(tmp_path / "bundle")
    assert run(tmp_path, beside.shared, "models", "import", str(bundle.path)).returncode == 0
    beside.new.post(f"/models/{bundle.version}/activate").raise_for_status()

    def serves() -> list[object]:
        return [client.get("/readyz").json()["models"] for client in (beside.old, beside.new)]

    until(lambda: bundle.version in json.dumps(serves()[0]) and serves()[0] == serves()[1])
    beside.old.post("/models/rollback").raise_for_status()
    until(lambda: serves() == [first, first])


def test_the_old_client_talks_to_the_new_service(beside: Beside) -> None:
    program = (
        "import nearnorm, sys; client = nearnorm.Client(sys.argv[1]); "
        f"scores = client.score([{ODD}] * 3, explain=True); assert scores[2]['reasons']; "
        "client.label([{'event_id': scores[0]['event_id'], 'label': 'anomaly', 'analyst': 'mei'}]); "
        "print(nearnorm.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(beside.new.base_url)],
        env=os.environ | beside.of_release,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(beside.of_release["PYTHONPATH"])


def test_the_old_ones_configuration_file_changes_nothing_in_the_new_one(
    beside: Beside, tmp_path: Path
) -> None:
    (tmp_path / "nearnorm.toml").write_text(beside.exported)
    applied = run(tmp_path, beside.shared, "apply", "-f", str(tmp_path / "nearnorm.toml"), "--dry-run")
    assert (applied.returncode, applied.stdout.strip()) == (0, "nothing differs"), applied.stderr


def test_the_old_release_does_not_start_again_on_the_newer_ledger_and_says_so(
    beside: Beside, tmp_path: Path
) -> None:
    done = run(tmp_path, beside.shared | beside.of_release, "serve", "--port", "0")
    assert done.returncode != 0
    assert "newer than this release: upgrade nearnorm" in done.stderr


def test_a_copy_from_before_the_upgrade_brings_the_old_release_back(tmp_path: Path) -> None:
    for release in RELEASES:
        home = tmp_path / release.version / "home"
        home.mkdir(parents=True)
        old = release.unpack(home.parent / "release")
        assert run(home, old, "keys", "create", "shop", "--role", "score").returncode == 0
        shutil.copytree(home, home.parent / "copy")
        assert run(home, {}, "migrate").returncode == 0
        assert "upgrade nearnorm" in run(home, old, "keys", "list").stderr
        shutil.rmtree(home)
        shutil.copytree(home.parent / "copy", home)
        assert "shop" in run(home, old, "keys", "list").stdout

"""`nearnorm models delete` and `gc` beside a running service: what goes, what stays, and who is told what."""

import json
import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import StoreError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import jobs, swaps
from nearnorm.service.ledger.tables.swaps import Swap
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import Settings
from nearnorm.service.upkeep.deletion import delete_version
from tests.service.asking import STRANGE, label, problem, score, stored
from tests.service.bundles import make_bundle
from tests.service.commands import Command
from tests.service.waiting import logged, until


@pytest.fixture
def store(settings: Settings) -> ModelStore:
    return settings.open_store()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("made")
    return [make_bundle(folder / str(seed), seed=seed) for seed in range(1, 5)]


@pytest.fixture
def stored_versions(store: ModelStore, made: list[Bundle]) -> list[str]:
    """Four beside the champion, aged ten days each: the last is the newest."""
    found = [store.publish(bundle.path) for bundle in made]
    for age, version in enumerate(reversed(found)):
        then = (datetime.now() - timedelta(days=100 + 10 * age)).timestamp()
        os.utime(store.root / "versions" / version, (then, then))
    return found


def trail(client: httpx.Client, action: str) -> list[dict[str, Any]]:
    entries = client.get("/audit").json()["audit"]
    return [entry for entry in entries if entry["action"] == action]


def test_a_version_is_deleted_once_it_was_shown_and_the_trail_tells_who_and_why(
    client: httpx.Client, nearnorm: Command, store: ModelStore, stored_versions: list[str]
) -> None:
    version = stored_versions[0]
    shown = nearnorm("models", "delete", version[:12])
    assert (shown.code, shown.out) == (0, f"{version} would be deleted: do it by --yes\n")
    assert store.open(version).version == version
    assert trail(client, "delete") == []
    done = nearnorm("models", "delete", version[:12], "--yes", "--reason", "trained on the wrong month")
    assert done.out == f"{version} is deleted\n"
    assert version not in store.versions()
    (entry,) = trail(client, "delete")
    assert entry["actor"].startswith("cli")
    assert entry["detail"] == {"version": version, "reason": "trained on the wrong month"}


def test_what_asks_for_a_deleted_version_is_told_and_figures_of_it_stay(
    client: httpx.Client, nearnorm: Command, store: ModelStore, made: list[Bundle], tmp_path: Path
) -> None:
    first, second, third = (store.publish(bundle.path) for bundle in made[:3])
    for version in (first, second, third):
        client.post(f"/models/{version}/activate").raise_for_status()
    event = score(client, STRANGE, "tx-1")["event_id"]
    (receipt,) = stored(label(client, {"event_id": event, "label": "anomaly", "analyst": "ann"}))
    until(lambda: logged(client))
    for version in (second, first):  # the event's own stays until it serves no more
        client.post(f"/models/{version}/activate").raise_for_status()
    before = client.get(f"/feedback/{receipt}").json()
    assert nearnorm("models", "delete", third, "--yes").code == 0

    assert client.get(f"/feedback/{receipt}").json() == before
    assert client.get(f"/events/{event}").json()["verdict"]["then"]["model_version"] == third
    assert score(client, STRANGE)["matched_feedback"]
    told = f"version {third} was deleted on "
    assert told in problem(client.get(f"/models/{third}"), 404, "not-found")["detail"]
    assert told in problem(client.post(f"/models/{third}/activate"), 404, "not-found")["detail"]
    assert third not in [model["version"] for model in client.get("/models").json()["models"]]
    replayed = nearnorm("replay", third[:12], "--out", tmp_path / "out.csv")
    assert replayed.code == 2
    assert told in replayed.err
    assert nearnorm("replay", second[:12], "--out", tmp_path / "out.csv").code == 0
    assert client.post("/models/rollback").json()["version"] == second
    refused = client.post("/models/rollback")  # to the third
    assert told in problem(refused, 409, "conflict")["detail"]
    assert client.get("/readyz").json()["models"][0]["version"] == second


def test_a_service_that_follows_an_entry_for_what_is_gone_says_so_and_goes_on(
    client: httpx.Client, nearnorm: Command, store: ModelStore, made: list[Bundle]
) -> None:
    """The log names a version, and it goes before its bundle is read."""
    first, second = (store.publish(bundle.path) for bundle in made[:2])
    serves = client.get("/readyz").json()["models"][0]["version"]
    nearnorm("models", "delete", first, "--yes")
    entry = store.activations()[-1].model_copy(update={"number": 2, "version": first})
    assert store._put_entry(2, entry.model_dump_json(exclude_none=True).encode())
    told = f"version {first} was deleted on "
    until(lambda: any(told in one for one in client.get("/readyz").json()["problems"]))
    ready = client.get("/readyz").json()
    assert (ready["ready"], ready["models"][0]["version"]) == (True, serves)
    assert score(client, STRANGE)["score"] >= 0
    client.post(f"/models/{second}/activate").raise_for_status()
    assert client.get("/readyz").json()["problems"] == []


def test_what_a_running_job_or_the_watch_needs_stays_and_the_trail_tells_of_the_attempt(
    client: httpx.Client,
    nearnorm: Command,
    ledger: Ledger,
    store: ModelStore,
    stored_versions: list[str],
) -> None:
    measured, trained, watched, before = stored_versions
    with ledger.write() as connection:
        job = requests.request(connection, "default", Rule(20, 0), "test")
        assert jobs.take(connection, job, "w", now_ms(), now_ms() + 60_000)
        jobs.renew(connection, job.job_id, "w", now_ms() + 60_000, champion=measured, version=trained)
        swaps.put(connection, Swap("default", watched, before, now_ms()))
    champion = store.champion()
    assert champion is not None
    whys = {
        measured: f"job {job.job_id} runs with it",
        trained: f"job {job.job_id} runs with it",
        watched: "the watch after a swap compares it",
        before: "the watch after a swap compares it",
        champion.version: "it is the champion of 'default'",
    }
    for version, why in whys.items():
        for yes in ([], ["--yes"]):
            refused = nearnorm("models", "delete", version, *yes)
            assert (refused.code, refused.err) == (2, f"nearnorm: version {version} stays: {why}\n")
    assert len(store.versions()) == 5
    failed = {
        entry["detail"]["version"]: entry["detail"]["reason"] for entry in trail(client, "delete.failed")
    }
    assert failed == {version: f"version {version} stays: {why}" for version, why in whys.items()}


def test_old_versions_are_collected_once_they_were_shown_and_the_newest_stay(
    client: httpx.Client, nearnorm: Command, store: ModelStore, stored_versions: list[str]
) -> None:
    champion = store.versions()[-1]
    assert "--days" in nearnorm("models", "gc", "--days", "1e9").err, "no calendar goes back so far"
    shown = nearnorm("models", "gc", "--keep", "2", "--days", "90")
    assert shown.code == 0
    *lines, last = shown.out.splitlines()
    said = dict(line.split(" ", 1) for line in lines)
    assert said[champion] == "stays: it is the champion of 'default'"
    for version in stored_versions[2:]:
        assert said[version] == "stays: it is among the newest 2"
    for version in stored_versions[:2]:
        assert said[version].startswith("would be deleted, ")
    assert last.startswith("2 versions of 0.")
    assert len(store.versions()) == 5
    done = nearnorm("models", "gc", "--keep", "2", "--days", "90", "--yes")
    assert done.out.splitlines() == [f"{version} is deleted" for version in stored_versions[:2]]
    assert set(store.versions()) == {champion, *stored_versions[2:]}
    assert {e["detail"]["reason"] for e in trail(client, "delete")} == {"gc --keep 2 --days 90"}
    again = nearnorm("models", "gc", "--keep", "2", "--days", "90", "--yes")
    assert "no version goes" in again.out


def test_what_another_deletes_meanwhile_is_told_and_the_rest_is_collected(
    nearnorm: Command, store: ModelStore, stored_versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = stored_versions[:2]

    def beside(ledger: Ledger, store: ModelStore, version: str, by: str, why: str | None) -> None:
        with suppress(StoreError):
            delete_version(ledger, store, first, "another", None)
        delete_version(ledger, store, version, by, why)

    monkeypatch.setattr("nearnorm.service.cli.upkeep.delete_version", beside)
    done = nearnorm("models", "gc", "--keep", "2", "--yes")
    told, deleted = done.out.splitlines()
    assert told.startswith(f"version {first} was deleted on ")
    assert (done.code, deleted) == (0, f"{second} is deleted")


def test_what_came_or_was_activated_lately_is_not_collected(
    nearnorm: Command, store: ModelStore, stored_versions: list[str]
) -> None:
    third = stored_versions[2]
    for version in (stored_versions[0], third, stored_versions[3]):
        store.activate(version, by="ann")  # the first is neither champion nor before it
    said = dict(line.split(" ", 1) for line in nearnorm("models", "gc", "--keep", "1").out.splitlines())
    assert said[stored_versions[0]] == "stays: it came, or was activated, within 90 days"
    assert said[third] == "stays: a rollback of 'default' puts it back"
    assert said[stored_versions[1]] == "stays: it is among the newest 1", "of those that no model ever had"


def test_of_every_model_the_newest_stay(
    nearnorm: Command, store: ModelStore, stored_versions: list[str], ledger: Ledger
) -> None:
    for version in stored_versions[:3]:  # a line of its own, whose newest is the third
        store.activate(version, by="ann", model="cards")
    log = store.root / "activations"
    for file in sorted(log.iterdir())[1:]:
        file.write_text(file.read_text().replace('"at":"20', '"at":"19'))  # long ago
    fresh = ModelStore(store.root)
    assert fresh.champions()["cards"].at.startswith("19")
    said = dict(line.split(" ", 1) for line in nearnorm("models", "gc", "--keep", "3").out.splitlines())
    assert said[stored_versions[0]] == "stays: it is among the newest 3 of 'cards'"
    said = dict(line.split(" ", 1) for line in nearnorm("models", "gc", "--keep", "2").out.splitlines())
    assert said[stored_versions[0]].startswith("would be deleted")


def test_a_version_that_cannot_be_read_is_told_and_not_collected(
    nearnorm: Command, store: ModelStore, stored_versions: list[str]
) -> None:
    (store.root / "versions" / stored_versions[0] / "model.onnx").write_bytes(b"broken")
    said = dict(line.split(" ", 1) for line in nearnorm("models", "gc", "--keep", "1").out.splitlines())
    assert "does not have the digest" in said[stored_versions[0]]
    listed = nearnorm("models", "list")
    assert listed.code == 0
    assert "does not have the digest" in listed.out


def test_the_list_tells_what_a_version_learnt_its_size_and_who_activated_it_and_why(
    nearnorm: Command, store: ModelStore, made: list[Bundle]
) -> None:
    version = store.publish(made[0].path)
    store.activate(version, by="mei", reason="it finds more")
    lines = nearnorm("models", "list").out.splitlines()
    at = lines.index(f"{version} default")
    assert lines[at + 1].startswith("    made 2026-01-01 from ")
    assert lines[at + 1].endswith(" MB")
    assert " by mei: it finds more" in lines[at + 2]
    one = next(
        o
        for o in map(json.loads, nearnorm("models", "list", "--json").out.splitlines())
        if o["version"] == version
    )
    assert one["serves"] == ["default"]
    assert one["activated"]["reason"] == "it finds more"
    assert one["rows"] == made[0].manifest.core.data.rows
    folder = store.root / "versions" / version
    assert one["bytes"] == sum(file.stat().st_size for file in folder.iterdir())

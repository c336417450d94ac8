"""However many lines there are, /metrics names the busiest and tells of the others together."""

from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.metrics import busiest, collectors
from nearnorm.service.metrics.busiest import OTHER, BusiestLines
from nearnorm.service.settings import Settings
from tests.service.api.test_health import value
from tests.service.asking import RECORD
from tests.service.running import home_with, serving
from tests.service.waiting import until

LINES = ["one", "two", "three"]


@pytest.fixture(autouse=True)
def two_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busiest, "MOST_SHOWN", 2)


def test_lines_are_shown_while_there_is_room_and_then_those_that_are_clearly_busier() -> None:
    lines = BusiestLines()
    lines.admit(["default", "one", "two"])
    assert [lines.label(name) for name in ("default", "one", "two")] == ["default", "one", OTHER]
    assert not lines.look({"default": 0, "one": 100, "two": 140}, always="default")
    assert lines.look({"default": 0, "one": 100, "two": 400}, always="default")
    assert [lines.label(name) for name in ("default", "one", "two")] == ["default", OTHER, "two"]


def test_a_line_that_was_busy_long_ago_makes_room() -> None:
    lines = BusiestLines()
    lines.admit(["default", "one"])
    lines.look({"one": 1_000_000}, always="default")
    rows = 0
    for _ in range(3_000):
        rows += 10
        lines.look({"one": 1_000_000, "two": rows}, always="default")
    assert lines.label("two") == "two"
    assert lines.label("one") == OTHER


def scored(client: httpx.Client, name: str, rows: int) -> None:
    client.post("/score", json={"model": name, "records": [RECORD] * rows}).raise_for_status()


def rows_of(client: httpx.Client) -> dict[str, float]:
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("nearnorm_rows_total{"):
            label, _, count = line.rpartition(" ")
            found[label.split('"')[1]] = float(count)
    return found


def test_counts_go_on_under_their_names_when_others_are_shown_and_none_falls(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collectors, "READ_EVERY", 0.0)
    store = ModelStore(home_with(tmp_path, bundle) / "models")
    for name in LINES:
        store.activate(bundle.version, by="test", model=name)
    app = create_app(Settings(home=tmp_path))
    with serving(app) as client:
        registry = app.state.registry
        scored(client, "one", 10)
        scored(client, "two", 7)
        scored(client, "three", 100)
        assert rows_of(client) == {"default": 0, "one": 10, OTHER: 107}
        for action, count in (("activate", 1), ("rollback", 0)):
            assert value(client, "nearnorm_activations_total", model="one", action=action) == count
        assert value(client, "nearnorm_activations_total", model=OTHER, action="activate") == 2
        monkeypatch.setattr("nearnorm.service.serving.champions.swaps.LOOK_SECONDS", 0.0)
        until(lambda: "three" in rows_of(client))
        scored(client, "three", 5)
        scored(client, "one", 1)
        assert rows_of(client) == {"default": 0, "three": 5, OTHER: 108}
        assert value(client, "nearnorm_activations_total", model=OTHER, action="activate") == 2
        assert value(client, "nearnorm_queue_rows", model=OTHER) == 0
        assert value(client, "nearnorm_drifting", model=OTHER, kind="any", signal="any") == 0
        until(lambda: value(client, "nearnorm_jobs", model=OTHER, state="queued") == 0)
        for name, rows in (("one", 11), ("three", 105)):
            process = client.get("/overview/figures", params={"model": name}).json()["process"]
            assert process == {"scored": rows, "errors": 0}
        until(lambda: 'model="one"' not in client.get("/metrics").text)  # once the ledger is read again
        assert 'model="two"' not in client.get("/metrics").text
        assert registry.lines() == {"default", *LINES}


def test_a_job_of_a_line_that_is_not_shown_is_counted_with_the_others(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collectors, "READ_EVERY", 0.0)
    store = ModelStore(home_with(tmp_path, bundle) / "models")
    for name in LINES:
        store.activate(bundle.version, by="test", model=name)
    with serving(create_app(Settings(home=tmp_path))) as client:
        for name in LINES:
            client.post("/jobs", json={"model": name}).raise_for_status()
        until(lambda: value(client, "nearnorm_jobs", model=OTHER, state="queued") == 2)
        assert value(client, "nearnorm_jobs", model="one", state="queued") == 1

"""What fails beside the requests is told and started again."""

import threading
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service import background as background_module
from nearnorm.service.app import create_app
from nearnorm.service.background import Background
from nearnorm.service.events.log import EventLog
from nearnorm.service.follower import Follower
from nearnorm.service.settings import Settings
from tests.service.running import home_with, serving
from tests.service.waiting import until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "RESTART_SECONDS", 0.05)


def test_a_thread_that_dies_is_started_again_and_told_until_it_works() -> None:
    background = Background()
    died, go_on = threading.Event(), threading.Event()
    runs: list[int] = []

    def run() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise ValueError("no reason")
        died.set()
        go_on.wait(60)
        background.works("counting")

    thread = background.start_thread("counting", run)
    assert died.wait(60)
    assert background.problems() == ["counting fails: ValueError: no reason"]
    assert background.failures["counting"] == 2
    go_on.set()
    thread.join(60)
    assert runs == [0, 1, 2]
    assert background.problems() == []


@pytest.mark.parametrize(
    ("kind", "method", "task"),
    [
        (Follower, "refresh", "following the ledger"),
        (Follower, "_follow", "following the ledger"),
        (EventLog, "_run", "writing the event log"),
    ],
)
def test_readyz_and_metrics_tell_of_a_thread_that_fails_and_readyz_no_more_once_it_works(
    tmp_path: Path,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    kind: type,
    method: str,
    task: str,
) -> None:
    real = getattr(kind, method)
    broken = threading.Event()
    broken.set()

    def fails(self: object, *arguments: object) -> object:
        if broken.is_set():
            raise ValueError("no reason")
        return real(self, *arguments)

    monkeypatch.setattr(kind, method, fails)
    with serving(create_app(Settings(home=home_with(tmp_path / "home", bundle)))) as client:

        def told() -> bool:
            found = client.get("/readyz").json()
            assert found["ready"] is True
            return bool(f"{task} fails: ValueError: no reason" in found["problems"])

        until(told)
        assert f'nearnorm_background_failures_total{{task="{task}"}}' in client.get("/metrics").text
        broken.clear()
        until(lambda: not told())

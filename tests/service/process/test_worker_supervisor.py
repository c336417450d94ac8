"""The supervisors go on when a process cannot even be started, as where memory is short."""

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from nearnorm.service.process import supervisor as supervisor_module
from nearnorm.service.process import worker_supervisor as worker_module
from nearnorm.service.process.supervisor import ServingProcess
from nearnorm.service.process.worker_supervisor import WorkerSupervisor
from nearnorm.service.settings import Settings
from tests.service.process.test_supervisor import children
from tests.service.waiting import until


def test_a_worker_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "LEAST_PAUSE", 0.02)
    monkeypatch.setenv("NEARNORM_HOME", str(tmp_path))
    keeper = WorkerSupervisor(Settings(home=tmp_path))
    with monkeypatch.context() as nowhere:
        nowhere.setattr(sys, "executable", str(tmp_path / "no python"))
        keeper.start()
        threading.Event().wait(0.1)
        assert children(os.getpid(), "worker") == []
    try:
        until(lambda: len(children(os.getpid(), "worker")) == 1, 20)
    finally:
        keeper.close()


def test_a_serving_process_that_cannot_be_started_again_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "MOST_PAUSE", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = ServingProcess(0, listener, Settings(home=tmp_path), tmp_path)
        place._command = [sys.executable, "-c", "raise SystemExit(1)"]
        place.start()
        place.process.wait(20)
        place._command = [str(tmp_path / "no python")]
        died = place.process

        def looked(how_it_stands: bool) -> bool:
            place.look()
            return how_it_stands

        for _ in range(5):
            place.look()  # due at once, and it cannot be started
        assert place.process is died
        place._command = [sys.executable, "-c", "raise SystemExit(0)"]
        until(lambda: looked(place.process is not died), 20)
        place.process.wait(20)
        for process in (died, place.process):
            assert process.stdin is not None
            process.stdin.close()

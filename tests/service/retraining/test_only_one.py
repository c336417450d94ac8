"""The lock of a home: one worker works, another waits, and has its turn when the first has ended."""

import threading
from pathlib import Path

from nearnorm.service.retraining.only_one import OnlyOne


def test_another_worker_waits_until_it_is_told_to_stop_or_the_first_has_ended(tmp_path: Path) -> None:
    stop, turn = threading.Event(), threading.Event()

    def wait_for_a_turn() -> None:
        with OnlyOne(tmp_path, threading.Event()) as alone:
            assert alone
            turn.set()

    with OnlyOne(tmp_path, threading.Event()) as alone:
        assert alone
        stop.set()
        with OnlyOne(tmp_path, stop) as told_to_stop:
            assert not told_to_stop
        waiting = threading.Thread(target=wait_for_a_turn)
        waiting.start()
        assert not turn.wait(1)
    assert turn.wait(30)
    waiting.join(30)

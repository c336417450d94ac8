"""Which thread goes first."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nearnorm.service.serving.behind_loop import NICE, go_behind


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux alone")
def test_a_thread_goes_behind_and_the_one_that_started_it_does_not() -> None:
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with ThreadPoolExecutor(1, initializer=go_behind) as executor:
        other = executor.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert other == NICE
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own

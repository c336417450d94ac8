"""Threads that work beside the event loop go behind it: where both want a CPU, the loop has it first.

A batch of 1,000 rows may take a turn of the scheduler, milliseconds in which no other request is read.
"""

import os
import sys
import threading

NICE = 10


def go_behind() -> None:
    """Of the thread that calls it. Where a thread has no priority of its own, nothing is changed."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)

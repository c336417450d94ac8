"""One heap for all threads.

glibc gives every thread a heap of its own, and what is freed in one is not used by another: a process that
serves for days has as many half-empty heaps as it ever had threads. In Python one thread at a time
allocates, so that they may share one.
"""

import ctypes
import os
from contextlib import suppress

M_ARENA_MAX = -8  # of malloc.h


def share_heap() -> None:
    """Before the first thread starts. Other C libraries have no such thing; MALLOC_ARENA_MAX goes before."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)

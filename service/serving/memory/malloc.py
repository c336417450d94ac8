"""One heap for all threads, and what is free of it is given back.

glibc gives every thread a heap of its own, and what is freed in one is not used by another: a process that
serves for days has as many half-empty heaps as it ever had threads. In Python one thread at a time
allocates, so that they may share one.
"""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress

M_ARENA_MAX = -8  # of malloc.h


def share_heap() -> None:
    """Before the first thread starts. MALLOC_ARENA_MAX goes before."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        _glibc(lambda malloc: malloc.mallopt(M_ARENA_MAX, 1))


def trim_heap() -> None:
    """Whole free pages go back to the system; a few milliseconds in which nobody allocates."""
    _glibc(lambda malloc: malloc.malloc_trim(0))


def _glibc(call: Callable[[ctypes.CDLL], object]) -> None:
    with suppress(OSError, AttributeError):  # other C libraries have no such thing, and no need of it
        call(ctypes.CDLL(None))

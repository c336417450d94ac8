"""malloc, as a process sees it."""

import os
import platform
import subprocess
import sys

import pytest

THREADS = """
import ctypes, sys, threading
from nearnorm.service.serving.memory.malloc import share_heap

share_heap()
malloc = ctypes.CDLL(None)
def allocate():  # without the interpreter's lock, at once
    malloc.malloc.restype = ctypes.c_void_p
    for _ in range(2000):
        malloc.free(ctypes.c_void_p(malloc.malloc(3000)))
threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
malloc.fopen.restype = ctypes.c_void_p
malloc.malloc_info(0, ctypes.c_void_p(malloc.fopen(b"/dev/stdout", b"w")))
malloc.fflush(None)
"""

FREED = """
import ctypes
from nearnorm.service.serving.memory.malloc import share_heap, trim_heap

share_heap()
malloc = ctypes.CDLL(None)
malloc.malloc.restype = ctypes.c_void_p
def resident():
    status = open("/proc/self/status").read().split("RssAnon:")[1]
    return int(status.split()[0])
blocks = [malloc.malloc(3000) for _ in range(20000)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 3000)
for block in blocks[:-1]:  # the last one keeps the heap's end where it is
    malloc.free(ctypes.c_void_p(block))
before = resident()
trim_heap()
print(before - resident())
"""


def said(code: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps by thread")
@pytest.mark.parametrize(("wanted", "heaps"), [(None, {1}), ("4", {2, 3, 4})])
def test_all_threads_share_one_heap_unless_somebody_asks_for_more(
    wanted: str | None, heaps: set[int]
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if wanted:
        environment["MALLOC_ARENA_MAX"] = wanted
    told = subprocess.run(
        [sys.executable, "-c", THREADS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert told.count("<heap nr=") in heaps


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give back by themselves")
def test_what_is_free_goes_back_to_the_system() -> None:
    given_back = int(said(FREED, dict(os.environ)))
    assert given_back > 40_000  # of 59 MB; in kB

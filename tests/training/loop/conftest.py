"""One process beside all retrainings here: outside each starts its own, which takes as long as a fit."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context

import pytest

from nearnorm.training.loop import challenger


@pytest.fixture(scope="session")
def beside() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, beside: ProcessPoolExecutor) -> None:
    monkeypatch.setattr(challenger, "ProcessPoolExecutor", lambda *_: nullcontext(beside))

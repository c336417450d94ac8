"""Requests in parts: whose rows an event's id belongs to, and a client who does not wait for the rest."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from starlette.types import Message

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.http.body import ClientGoneError
from nearnorm.service.inference.engine import Engine
from nearnorm.service.metrics.counters import LineRows, ModelMeter
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.scoring.rows import scored_rows, show_to_drift
from nearnorm.service.serving.batcher import Batcher, Limits
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores


def rows_of(count: int, columns: int = 1) -> Rows:
    return Rows(np.zeros((count, columns)), np.empty((count, 0), np.int64))


def test_a_kept_events_id_is_noted_with_its_row_whichever_part_it_is_in(bundle: Bundle) -> None:
    model = LoadedModel("default", bundle.manifest, Engine(bundle, "cpu"), 1000)
    model.meter, model.counted = ModelMeter(), LineRows()
    golden = bundle.manifest.core.golden
    numeric = np.array([[np.nan if v is None else v for v in row] for row in golden.numeric[:1]], np.float64)
    codes = np.array(golden.codes[:1], np.int64)

    def batch(*sizes: int) -> list[Scores]:
        items = [Rows(np.repeat(numeric, size, axis=0), np.repeat(codes, size, axis=0)) for size in sizes]
        parts = model.split(items, model.run(items))
        parts[0].batch.watched = True
        return parts

    of_another, first = batch(2, 3)
    _, second, third = batch(1, 4, 1)
    show_to_drift(model, [first, second, third], {0: "a", 2: "b", 3: "c", 6: "d", 7: "e"})
    assert of_another.batch.event_ids == {2: "a", 4: "b"}
    assert second.batch.event_ids == {1: "c", 4: "d", 5: "e"}


def test_rows_that_nobody_waits_for_any_more_are_not_computed() -> None:
    """A large request in the queue behind another: its client hangs up, and its turn is over."""
    ran: list[int] = []
    go_on = threading.Event()

    def run(items: Sequence[Rows]) -> int:
        assert go_on.wait(10)
        ran.extend(map(len, items))
        return 0

    async def disconnected() -> Message:
        return {"type": "http.disconnect"}

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            limits = Limits(1024, 512, 20_000, 10.0, 1)
            batcher = Batcher(run, lambda items, _: list(map(len, items)), limits, executor, lambda _: None)
            model = cast("LoadedModel", SimpleNamespace(batcher=batcher))
            before = batcher.submit(rows_of(1_000))
            await asyncio.sleep(0.01)  # it runs
            gone = scored_rows(model, Encoded(rows_of(1_001), 1_001), "", disconnected)
            with pytest.raises(ClientGoneError):
                await asyncio.wait_for(gone, 5)
            go_on.set()
            await before
            listens: Any = asyncio.Event().wait
            await asyncio.wait_for(scored_rows(model, Encoded(rows_of(700), 700), "", listens), 5)
            assert batcher.rows == 0

    asyncio.run(scenario())
    assert ran == [1_000, 700]

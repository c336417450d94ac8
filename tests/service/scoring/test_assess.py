"""What reviewers ask of the model beside scoring: verdict and reasons of records, by turns."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.inference.engine import Engine
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.scoring.explain import assess
from nearnorm.service.serving.explaining import explaining_lane
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.verdict.reasons import Explained
from tests.service.asking import STRANGE


def test_one_reviewer_who_asks_for_many_reasons_keeps_no_other_waiting(bundle: Bundle) -> None:
    model = LoadedModel("default", bundle.manifest, Engine(bundle, "cpu"), 1000)
    go_on = threading.Event()

    def explain(rows: Rows, outputs: Outputs) -> list[Explained]:
        assert go_on.wait(10)
        return model.explain(rows, outputs)

    async def waiting(rows: int) -> None:
        while model.explaining.rows < rows:
            await asyncio.sleep(0.001)

    async def scenario() -> int:
        with ThreadPoolExecutor(1) as executor:
            model.explaining = explaining_lane(explain, 10.0, executor, lambda _: None)
            greedy = [asyncio.create_task(assess(model, [STRANGE] * 40, "greedy")) for _ in range(10)]
            await waiting(400)
            bench = asyncio.create_task(assess(model, [STRANGE], "bench"))
            await waiting(401)
            go_on.set()
            (found,) = await bench
            assert found is not None
            assert found.anomaly
            done = sum(task.done() for task in greedy)
            await asyncio.gather(*greedy)
            return done

    assert asyncio.run(asyncio.wait_for(scenario(), 30)) <= 2

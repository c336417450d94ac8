"""`make bench-device`: rows a second of the model itself, by batch, on CPU and on CUDA where it is.

`bound` keeps the batch's input in an onnxruntime value on the device and binds the outputs (IO binding), in
place of handing arrays over with every call; both copy the rows to the device and the answers back.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import NearnormError
from nearnorm.service.inference.engine import CUDA, Engine, cpus
from nearnorm.service.records.encoder import Rows
from tests.load.rows import draw
from tests.load.servers import trained

BATCHES = [4**power for power in range(9)]  # 1 to 65,536


@dataclass(frozen=True)
class Way:
    """One way to run the model: `prepare` answers a function that runs the rows once more."""

    name: str
    prepare: Callable[[Rows], Callable[[], object]]


def ways(bundle: Bundle) -> list[Way]:
    found = [handed("cpu, 1 thread", Engine(bundle, "cpu", 1))]
    if cpus() > 1:
        found.append(handed(f"cpu, {cpus()} threads", Engine(bundle, "cpu", cpus())))
    try:
        engine = Engine(bundle, "cuda")  # refuses unless every node runs there, and checks its golden rows
    except NearnormError as error:
        print(f"unmeasured: {error}", file=sys.stderr)
        return found
    assert engine.provider == CUDA
    return [*found, handed("cuda", engine), bound("cuda, bound", engine)]


def handed(name: str, engine: Engine) -> Way:
    return Way(name, lambda rows: lambda: engine.run(rows))


def bound(name: str, engine: Engine) -> Way:
    session: ort.InferenceSession = engine._session
    wanted = {i.name for i in session.get_inputs()}

    def prepare(rows: Rows) -> Callable[[], object]:
        arrays = {name: getattr(rows, name) for name in wanted}
        values = {n: ort.OrtValue.ortvalue_from_numpy(a, "cuda", 0) for n, a in arrays.items()}
        binding = session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, "cuda")

        def run() -> object:
            for name, value in values.items():
                value.update_inplace(arrays[name])
            session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()

        return run

    return Way(name, prepare)


def measure(every: list[Way], features: int, rounds: int, seconds: float) -> Mapping[int, list[float]]:
    """Rows a second of each way, by batch: medians of interleaved rounds."""
    found: dict[int, list[float]] = {}
    for batch in BATCHES:
        numeric = draw(batch, 1, 0.001)[0]
        rows = Rows(np.ascontiguousarray(numeric), np.zeros((batch, 0), np.int64))
        assert numeric.shape[1] == features
        runs = [way.prepare(rows) for way in every]
        each: list[list[float]] = [[] for _ in every]
        for _ in range(rounds):
            for rates, run in zip(each, runs, strict=True):
                run()
                count, started = 0, time.perf_counter()
                while (taken := time.perf_counter() - started) < seconds:
                    run()
                    count += 1
                rates.append(batch * count / taken)
        found[batch] = [statistics.median(rates) for rates in each]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    given = parser.parse_args()
    bundle = trained(given.model)
    every = ways(bundle)
    found = measure(every, len(bundle.manifest.core.features.numeric), given.rounds, given.seconds)
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}; rows a second\n")
    print("| batch | " + " | ".join(way.name for way in every) + " |\n|---|" + "---|" * len(every))
    for batch, rates in found.items():
        print(f"| {batch:,} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")


if __name__ == "__main__":
    main()

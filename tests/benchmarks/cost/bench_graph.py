"""`make bench-graph`: processor time a row of the exported graph, beside that of the `paper` preset.

Both graphs are exported with the same care and run in onnxruntime on one thread, on the same rows, in
interleaved rounds; every figure is a median over rounds. Data sets of BENCH_DATA where it is set.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort

from nearnorm.training.dataset.load import Dataset, load
from nearnorm.training.export.onnx_graph import INPUTS, OUTPUTS, to_onnx
from nearnorm.training.fitting.fit import TrainingSet, fit
from nearnorm.training.method.config import FitConfig
from tests.benchmarks.cost.bench_training import ROWS, known_sets
from tests.load.rows import write_training_file

STARTER = Path(__file__).parents[3] / "training" / "samples" / "shuttle_train.parquet"
BATCHES = (1, 32, 64, 256, 1_000)
ROUND_SECONDS = 0.1
SHORT = {"layerwise": False, "representation_epochs": 1, "joint_epochs": 1}
"""A graph costs the same however long it was trained."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print("microseconds of processor time a row, paper / default (ratio)")
    print(f"{'data':<16}{'columns':>8}" + "".join(f"{f'batch {size}':>22}" for size in BATCHES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_training_file(folder / "made.parquet")
        for source in (STARTER, folder / "made.parquet", *known_sets(folder)):
            data = load(str(source), "label")
            models = [exported(data, {"preset": "paper", **SHORT}), exported(data, {})]
            row = f"{source.stem:<16}{len(data.schema.scored):>8}"
            for size in BATCHES:
                paper, default = costs([scoring(model, data, size) for model in models], size, rounds)
                row += f"{f'{paper:.2f} / {default:.2f} ({default / paper:.1f})':>22}"
            print(row, flush=True)


def exported(data: Dataset, config: dict[str, object]) -> bytes:
    few = slice(0, ROWS)
    rows = TrainingSet(data.numeric[few], data.codes[few], data.cardinalities, data.labels[few])
    return to_onnx(fit(rows, FitConfig.model_validate(config), seed=0).detector)


def scoring(model: bytes, data: Dataset, size: int) -> Callable[[], object]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = dict(zip(INPUTS, (data.numeric[:size], data.codes[:size]), strict=True))
    return lambda: session.run(list(OUTPUTS), feed)


def costs(runs: list[Callable[[], object]], size: int, rounds: int) -> list[float]:
    """Microseconds a row of each, by turns."""
    found: list[list[float]] = [[] for _ in runs]
    times = max(3, round(ROUND_SECONDS * 1e6 / (40 + size)))
    for _ in range(rounds + 1):
        for run, costs in zip(runs, found, strict=True):
            started = time.process_time()
            for _ in range(times):
                run()
            costs.append((time.process_time() - started) / times / size * 1e6)
    return [statistics.median(costs[1:]) for costs in found]  # the first round warms up


if __name__ == "__main__":
    main()

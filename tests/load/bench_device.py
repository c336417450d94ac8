"""`make bench-device`: whether CUDA runs all of the model and answers as the CPU, and rows a second by batch.

Two models are compared: thirty numbers, and numbers with gaps, categories and a time. Where there is no CUDA
this is said, and the CPU's rows a second are all that is left. A few minutes.

`bound` keeps the batch's input in an onnxruntime value on the device and binds the outputs (IO binding), in
place of handing arrays over with every call; both copy the rows to the device and the answers back.
"""

import argparse
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.manifest import Tolerance
from nearnorm.models.errors import NearnormError
from nearnorm.service.inference.engine import CUDA, Engine, cpus
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.training.dataset.load import load
from tests.load.rows import FEATURES, LABELLED, TRAINING_ROWS, draw
from tests.load.servers import trained

BATCHES = [4**power for power in range(9)]  # 1 to 65,536
COMPARED = (1, 7, 64, 1_000, TRAINING_ROWS)


@dataclass(frozen=True)
class Way:
    """One way to run the model: `prepare` answers a function that runs the rows once more."""

    name: str
    prepare: Callable[[Rows], Callable[[], object]]


def on_cuda(bundle: Bundle) -> Engine | None:
    """It refuses unless every node runs there, and checks its golden rows. None, and the reason, where it
    cannot start."""
    try:
        return Engine(bundle, "cuda")
    except NearnormError as error:
        print(f"CUDA is skipped: {error}")
        return None


def placed(model: bytes, provider: str, rows: Rows) -> Counter[str]:
    """How many nodes ran on each provider, by onnxruntime's own profile of a run."""
    with TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        session = ort.InferenceSession(model, options, providers=[provider])
        session.run(None, {i.name: getattr(rows, i.name) for i in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    nodes = {
        (event["name"], event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    }
    return Counter(where for _, where in nodes)


def apart(found: Outputs, expected: Outputs, tolerance: Tolerance) -> dict[str, float]:
    """How far apart answers lie at most, by output, in tolerances: above 1 is a difference. Near a prototype
    a distance magnifies rounding errors: its square is compared."""
    worst: dict[str, float] = {}
    for name in ("score", "similarity", "distance", "reconstruction_error", "residual"):
        power = 2 if name == "distance" else 1
        one, other = getattr(found, name) ** power, getattr(expected, name) ** power
        allowed = tolerance.absolute + tolerance.relative * np.abs(other)
        worst[name] = float((np.abs(one - other) / allowed).max())
    return worst


def compare(name: str, bundle: Bundle, rows: Rows, cuda: Engine) -> None:
    """Print where the nodes ran, and how far CUDA's answers are from the CPU's, by batch."""
    where = placed(bundle.model, CUDA, rows)
    off = sum(where.values()) - where[CUDA]
    print(f"{name}: {where[CUDA]} nodes on CUDA, {off} elsewhere")
    cpu, tolerance = Engine(bundle, "cpu"), bundle.manifest.core.tolerances[CUDA]
    failed = off > 0
    for size in COMPARED:
        part = rows.part(0, size)
        worst = apart(cuda.run(part), cpu.run(part), tolerance)
        failed |= max(worst.values()) > 1.0
        print(f"  {size:>5} rows, in tolerances: " + ", ".join(f"{k} {v:.3f}" for k, v in worst.items()))
    if failed:
        raise SystemExit(f"{name}: CUDA does not run or answer as promised")


def write_mixed(path: Path) -> None:
    """Thirty numbers, two of them with gaps, two categories and a time."""
    values, strange = draw(TRAINING_ROWS, seed=1, anomalies=0.03)
    rng = np.random.default_rng(2)
    gaps = rng.random((len(values), FEATURES)) < 0.1 * (np.arange(FEATURES) < 2)
    columns = {f"f{j}": pa.array(values[:, j], mask=gaps[:, j]) for j in range(FEATURES)}
    for name, kinds in (("country", 12), ("channel", 3)):
        columns[name] = pa.array([f"{name} {kind}" for kind in rng.integers(kinds, size=len(values))])
    paid = 1_760_000_000 + rng.integers(90 * 86_400, size=len(values))
    columns["paid_at"] = pa.array(paid, pa.int64()).cast(pa.timestamp("s"))
    known = strange & (np.cumsum(strange) <= LABELLED)
    columns["label"] = pa.array(np.ones(len(values), np.int64), mask=~known)
    pq.write_table(pa.table(columns), path)


def ways(bundle: Bundle, cuda: Engine | None) -> list[Way]:
    found = [handed("cpu, 1 thread", Engine(bundle, "cpu", 1))]
    if cpus() > 1:
        found.append(handed(f"cpu, {cpus()} threads", Engine(bundle, "cpu", cpus())))
    return found if cuda is None else [*found, handed("cuda", cuda), bound("cuda, bound", cuda)]


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


def rows_of(folder: Path) -> Rows:
    """The rows that a model was trained on."""
    data = load(str(folder / "rows.parquet"), "label")
    return Rows(data.numeric, data.codes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--models", type=Path, default=Path("build"), help="kept between runs")
    given = parser.parse_args()
    bundle = trained(given.models / "bench-serve")
    cuda = on_cuda(bundle)
    if cuda is not None:
        compare("numbers", bundle, rows_of(given.models / "bench-serve"), cuda)
        mixed = trained(given.models / "bench-device", write_mixed)
        compare("mixed", mixed, rows_of(given.models / "bench-device"), Engine(mixed, "cuda"))
    every = ways(bundle, cuda)
    found = measure(every, len(bundle.manifest.core.features.numeric), given.rounds, given.seconds)
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}; rows a second\n")
    print("| batch | " + " | ".join(way.name for way in every) + " |\n|---|" + "---|" * len(every))
    for batch, rates in found.items():
        print(f"| {batch:,} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")


if __name__ == "__main__":
    main()

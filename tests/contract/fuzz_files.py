"""Bundles and data files that are almost right: each is read, or refused in one sentence.

python -m tests.contract.fuzz_files --times 20000
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, read_bundle
from nearnorm.models.canonical import digest
from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.errors import NearnormError
from nearnorm.service.inference.engine import Engine
from nearnorm.service.serving.model import LoadedModel
from nearnorm.training.dataset.load import load
from tests.contract.mutate import arrow_table, damaged, mutated
from tests.service.bundles import PAYMENTS

BUNDLE = Path(__file__).parent / "bundles" / "format-1"
NAMES = tuple(feature.name for feature in PAYMENTS.features)
TOLD_EVERY = 5.0


def bundle(folder: Path, rng: random.Random) -> str:
    """One changed bundle, signed anew half of the time, is read, loaded and checked as for serving."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BUNDLE, folder)
    manifest = folder / MANIFEST
    if rng.random() < 0.2:
        file = folder / rng.choice((MANIFEST, MODEL))
        file.write_bytes(damaged(file.read_bytes(), rng))
    else:
        document = mutated(json.loads(manifest.read_bytes()), rng, rng.randrange(1, 4))
        if isinstance(document, dict) and rng.random() < 0.8:
            document["version"] = digest(document.get("core"))
        manifest.write_text(json.dumps(document))
    try:
        found = read_bundle(folder)
        LoadedModel("default", found.manifest, Engine(found, "cpu", 1), 10_000)
    except NearnormError as error:
        return _told(error)
    return "loaded"


def table(folder: Path, rng: random.Random) -> str:
    """One changed CSV or Parquet file is read for training, and by a model's schema."""
    folder.mkdir(exist_ok=True)
    file = folder / rng.choice(("rows.csv", "rows.parquet"))
    rows = arrow_table(NAMES, rng)
    if rng.random() < 0.8:
        labels = [rng.choice((0, 1, None, "anomaly")) for _ in range(rows.num_rows)]
        rows = rows.append_column("label", pa.array([None if v is None else str(v) for v in labels]))
    try:
        write = pa_csv.write_csv if file.suffix == ".csv" else pq.write_table
        write(rows, file)
    except (pa.ArrowException, OSError):  # types that the format does not know
        return "not written"
    if rng.random() < 0.6:
        file.write_bytes(damaged(file.read_bytes(), rng))
    outcome = "read"
    for read in (lambda: load(str(file), "label"), lambda: to_arrays(read_table(str(file)), PAYMENTS)):
        try:
            read()
        except NearnormError as error:
            outcome = _told(error)
    return outcome


def _told(error: NearnormError) -> str:
    """The kind of an error that is one sentence."""
    sentence = str(error)
    assert sentence
    assert "\n" not in sentence
    return type(error).__name__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.randrange(2**32)  # noqa: S311
    outcomes: Counter[str] = Counter()
    told = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(asked.times):
            one = (bundle, table)[number % 2]
            try:
                what = one(Path(scratch) / one.__name__, random.Random(f"{seed}.{number}"))  # noqa: S311
            except Exception as error:  # what nobody foresaw is what is looked for
                what = f"BROKEN {error!r:.300}"
                print(f"seed {seed}, number {number}: {what}", flush=True)
            outcomes[f"{one.__name__} {what[:60]}"] += 1
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                print(f"{number + 1:,} of {asked.times:,}", flush=True)
    print(f"seed {seed}: " + ", ".join(f"{n} x {what}" for what, n in sorted(outcomes.items())))
    sys.exit(any("BROKEN" in what for what in outcomes))


if __name__ == "__main__":
    main()

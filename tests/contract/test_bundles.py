"""Bundles of every format that was ever released, and of every way that graphs were written, byte for byte,
load and answer as they did."""

import random
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.models.bundle.manifest import FORMAT_VERSION
from nearnorm.service.inference.engine import Engine, golden_rows
from tests.contract import fuzz_files

KEPT = Path(__file__).parent / "bundles"
FORMATS = sorted(KEPT.iterdir())


def test_there_is_a_bundle_of_every_format() -> None:
    kept = {int(folder.name.split("-")[1]) for folder in FORMATS}
    assert kept == set(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_a_bundle_of_an_earlier_release_loads_and_scores_as_it_did(folder: Path) -> None:
    bundle = read_bundle(folder)
    golden = bundle.manifest.core.golden
    engine = Engine(bundle, "cpu", 1)  # checks the golden rows
    scores = engine.run(golden_rows(golden)).score.tolist()
    assert scores == pytest.approx(golden.score, abs=1e-5)


def test_a_changed_bundle_is_refused_in_one_sentence_or_serves(tmp_path: Path) -> None:
    outcomes = {fuzz_files.bundle(tmp_path / "bundle", random.Random(n)) for n in range(120)}  # noqa: S311
    assert {"BundleError", "loaded"} <= outcomes


def test_a_changed_data_file_is_refused_in_one_sentence_or_read(tmp_path: Path) -> None:
    outcomes = {fuzz_files.table(tmp_path / "table", random.Random(n)) for n in range(120)}  # noqa: S311
    assert {"DataError", "read"} <= outcomes

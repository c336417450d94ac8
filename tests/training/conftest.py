"""A bundle trained on the payments sample, which has every kind of column, once for all tests."""

from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.job import TrainingJob, Watcher, prepare
from nearnorm.training.pipeline import train_bundle
from tests.training.samples import quick

SAMPLES = Path(__file__).parents[2] / "training" / "samples"
PAYMENTS = str(SAMPLES / "payments_train.parquet")
PAYMENTS_HELD_OUT = str(SAMPLES / "payments_held_out.parquet")
SILENT = Watcher(step=lambda stage, done: None, schema=lambda schema: None, warning=lambda warning: None)


def job(out: Path, source: str = PAYMENTS, **changes: object) -> TrainingJob:
    """A quick training of the payments sample, changed as said."""
    return TrainingJob(source=source, out=out, **{"recipe": Recipe(fit=quick(), columns={}), **changes})  # type: ignore[arg-type]


def train(out: Path, source: str = PAYMENTS, **changes: object) -> Bundle:
    return train_bundle(prepare(job(out, source, **changes), SILENT), SILENT)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train(tmp_path_factory.mktemp("trained") / "payments")

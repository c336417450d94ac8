"""What the retrainings of a line begin with: its own data, and for the default line alone the settings'."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nearnorm.models.retraining import TrainingRequest
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables import jobs, lines
from nearnorm.service.ledger.tables.lines import Line, LineData
from nearnorm.service.retraining.attempts.snapshot_files import write_snapshot
from nearnorm.service.retraining.attempts.workplace import LEASE
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.working import RULE, with_settings

OTHER = "payments-fr"


@pytest.fixture
def worker(settings: Settings, store: ModelStore) -> Iterator[Worker]:
    yield from with_settings(settings, training_data="all.parquet", training_config=Path("recipe.toml"))


def requested(worker: Worker, model: str) -> TrainingRequest:
    """What a training of a model is asked for."""
    with worker.ledger.write() as connection:
        job = requests.request(connection, model, RULE, "test")
        assert jobs.take(connection, job, worker.name, now_ms(), now_ms() + LEASE)
    folder = worker.settings.home / "jobs" / job.job_id
    write_snapshot(worker.place, job, folder)
    return msgspec.json.decode((folder / "request.json").read_bytes(), type=TrainingRequest)


def test_the_settings_data_are_those_of_the_default_line_alone(worker: Worker) -> None:
    asked = requested(worker, "default")
    assert (asked.source, asked.config) == ("all.parquet", str(Path("recipe.toml").absolute()))
    asked = requested(worker, OTHER)
    assert (asked.source, asked.reference, asked.config) == (None, None, None)


def test_a_line_trains_on_what_it_was_created_with(worker: Worker) -> None:
    with worker.ledger.write() as connection:
        lines.put(connection, Line(OTHER, LineData("fr.parquet", "clean.parquet", "/fr.toml"), 1, "test"))
        lines.put(connection, Line("default", LineData(reference_data="own.parquet"), 1, "test"))
    asked = requested(worker, OTHER)
    assert (asked.source, asked.reference, asked.config) == ("fr.parquet", "clean.parquet", "/fr.toml")
    asked = requested(worker, "default")
    assert (asked.source, asked.reference) == ("all.parquet", "own.parquet")

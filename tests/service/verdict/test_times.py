"""A model that knows when payments happen: its reasons, what is novel, what drift sees, what is equal."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.drift.histogram import Observed, SignalHistogram
from nearnorm.service.feedback.matching import row_keys
from nearnorm.service.inference.engine import Engine
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope, Reason
from nearnorm.service.verdict.novelty import Novelty
from nearnorm.service.verdict.reasons import Explainer
from tests.training.conftest import train
from tests.training.test_time_signal import at_night, payments

BY_DAY, BY_NIGHT = "2025-08-12T15:10:00", "2025-08-12T03:10:00"


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trained on payments whose frauds happen at night."""
    folder = tmp_path_factory.mktemp("nightly")
    path, _ = payments(folder, at_night(np.random.default_rng(5)))
    return train(folder / "bundle", str(path))


def read(bundle: Bundle, *times: str) -> Rows:
    features = bundle.manifest.core.features
    sent = [{"amount": 20.0, "items": 3, "booked_at": at} for at in times]
    return Encoder(features, 10).encode(Envelope(records=list(sent))).rows


@pytest.fixture(scope="module")
def run(nightly: Bundle) -> Callable[[Rows], Outputs]:
    engine = Engine(nightly, "cpu")

    def answers(rows: Rows) -> Outputs:
        return engine.run(rows)

    return answers


def reasons(bundle: Bundle, run: Callable[[Rows], Outputs], at: str) -> list[Reason]:
    explainer, rows = Explainer(bundle.manifest.core, run), read(bundle, at)
    outputs = run(rows)
    record: dict[str, float | bool | str | None] = {"amount": 20.0, "items": 3, "booked_at": at}
    return explainer.reasons(record, explainer.explain(rows, outputs)[0], outputs.residual[0].tolist())


def test_the_hour_of_a_payment_at_night_is_the_reason_beside_the_hours_of_its_group(
    nightly: Bundle, run: Callable[[Rows], Outputs]
) -> None:
    first = reasons(nightly, run, BY_NIGHT)[0]
    assert (first.feature, first.value) == ("booked_at", BY_NIGHT)
    assert 8 < first.expected["low"] < 14 < first.expected["median"] < 16 < first.expected["high"] < 24
    assert first.effect > 1.0


def test_a_time_that_is_later_than_all_of_training_is_neither_a_reason_nor_novel(
    nightly: Bundle, run: Callable[[Rows], Outputs]
) -> None:
    later = "2033-08-12T15:10:00"
    assert "booked_at" not in [reason.feature for reason in reasons(nightly, run, later)]
    rows = read(nightly, later)
    assert Novelty(nightly.manifest.core).find(rows, run(rows).distance) == {}


def test_drift_sees_that_times_are_missing_and_not_that_they_go_on(nightly: Bundle) -> None:
    histogram = SignalHistogram(nightly.manifest.core)
    signal = [s.name for s in histogram.signals].index("booked_at")
    rows = read(nightly, BY_DAY, "2033-08-12T15:10:00", "")
    zero = np.zeros(3, np.float32)
    similarity = np.zeros((3, nightly.manifest.core.prototypes), np.float32)
    seen = Observed(rows.numeric, rows.codes, zero, np.zeros(3, np.int64), zero, similarity, {})
    assert histogram.places(seen)[:, signal].tolist() == [0, 0, 1]


def test_a_verdict_acts_on_the_same_payment_in_the_same_hour_of_another_week(nightly: Bundle) -> None:
    rows = read(nightly, BY_DAY, "2025-08-19T15:40:00", "2025-08-20T15:10:00", BY_NIGHT)
    same, week, day, night = row_keys(rows, nightly.manifest.core.features.times)
    assert same == week
    assert len({same, day, night}) == 3


def test_the_report_tells_hours_and_never_seconds_since_1970(nightly: Bundle) -> None:
    report = (nightly.path / "report.html").read_text(encoding="utf-8")
    assert "booked_at" in report
    assert not re.search(r"1,7[5-9]\d,\d{3},\d{3}", report)

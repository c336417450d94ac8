from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from nearnorm.models.errors import DataError
from nearnorm.training.fitting.distil import served_forest
from nearnorm.training.fitting.fit import Fitted, Progress, TrainingSet, fit
from nearnorm.training.fitting.joint import SMOOTHED, TIE, train_jointly
from nearnorm.training.fitting.representation import learn_representation
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.forest.trees import Forest
from nearnorm.training.method.network import Detector
from tests.training.samples import quick, sample


def scores(fitted: Fitted, data: TrainingSet) -> np.ndarray:
    with torch.no_grad():
        out = fitted.detector(torch.from_numpy(data.numeric), torch.from_numpy(data.codes))
    answer: np.ndarray = out[0].numpy()
    assert np.isfinite(answer).all()
    return answer


@pytest.mark.parametrize("labelled", [0, 1, 5])
def test_anomalies_are_found_with_no_one_and_five_labels(labelled: int) -> None:
    data, truth = sample(rows=1_000, labelled=labelled)
    test, test_truth = sample(rows=1_000, seed=1)
    found = scores(fit(data, FitConfig(), seed=0), test)
    assert average_precision_score(test_truth, found) > {0: 0.3, 1: 0.6, 5: 0.8}[labelled]
    assert truth.sum() == 50


SHORT_PAPER = FitConfig(preset="paper", representation_epochs=20, joint_epochs=20, patience=3)


def joint_stop(fitted: Fitted) -> int:
    stops = fitted.choices["stopped_at"]
    assert isinstance(stops, dict)
    return int(stops["joint"])


def labelled_rows(seed: int) -> TrainingSet:
    data, truth = sample(rows=400, seed=seed)
    return replace(data, labels=truth.astype(np.int8))


def test_paper_learns_and_stops_by_the_smoothed_loss_of_held_out_rows() -> None:
    data, truth = sample(rows=1_000, labelled=2)
    fitted = fit(data, SHORT_PAPER, seed=3)
    assert average_precision_score(truth, scores(fitted, data)) > 0.5
    loss = fitted.history["joint.held_out"]
    smooth = [np.mean(loss[max(0, i + 1 - SMOOTHED) : i + 1]) for i in range(len(loss))]
    assert np.argmin(smooth) != np.argmin(loss), "or this tells nothing"
    assert joint_stop(fitted) == 1 + int(np.argmin(smooth))
    assert fitted.choices["stopped_by"] == "held-out rows without labels"


def test_with_labelled_validation_rows_paper_keeps_the_epoch_that_ranks_them_best() -> None:
    data, _ = sample(rows=1_000)
    validation = labelled_rows(1)
    fitted = fit(data, SHORT_PAPER, seed=0, validation=validation)
    lacks = fitted.history["joint.held_out"]
    assert joint_stop(fitted) == 1 + int(np.argmin(lacks))
    reached = average_precision_score(validation.labels, scores(fitted, validation))
    assert 1.0 - min(lacks) == pytest.approx(reached, abs=TIE)
    assert fitted.choices["stopped_by"] == "labelled validation rows"


def test_validation_rows_without_a_labelled_anomaly_to_learn_from_judge_as_normal_rows() -> None:
    data, _ = sample(rows=400, labelled=0)
    validation = labelled_rows(1)
    fitted = fit(data, SHORT_PAPER, seed=0, validation=validation)
    other = replace(validation, numeric=np.where(validation.labels[:, None] == 1, 9.0, validation.numeric))
    again = fit(data, SHORT_PAPER, seed=0, validation=other)
    assert fitted.choices["head"] == "ranks"
    assert fitted.history == again.history, "what the anomalies are makes no difference"


def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The input rows that the stages train on from now on, and those that they hold out."""
    trained: list[np.ndarray] = []
    held: list[np.ndarray] = []

    def learn(detector: Detector, rows: Tensor, held_out: Tensor, *others: Any) -> int:
        trained.append(rows.numpy())
        held.append(held_out.numpy())
        return learn_representation(detector, rows, held_out, *others)

    def jointly(
        detector: Detector, rows: tuple[Tensor, Tensor, Tensor], held_out: Tensor, *others: Any
    ) -> int:
        trained.extend(part.numpy() for part in rows)
        held.append(held_out.numpy())
        return train_jointly(detector, rows, held_out, *others)

    monkeypatch.setattr("nearnorm.training.fitting.fit.learn_representation", learn)
    monkeypatch.setattr("nearnorm.training.fitting.fit.train_jointly", jointly)
    return trained, held


def test_validation_rows_give_prototypes_and_stops_and_are_never_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained, held = watched(monkeypatch)
    data, _ = sample(rows=400, labelled=5)
    validation = labelled_rows(1)
    fitted = fit(data, quick("paper", members=1), seed=0, validation=validation)
    rows = fitted.choices["rows"]
    assert isinstance(rows, dict)
    assert (rows["unlabelled"], rows["held_out"], rows["validation"]) == (395, 380, 400)
    with torch.no_grad():
        judged = fitted.detector.preprocess(
            torch.from_numpy(validation.numeric), torch.from_numpy(validation.codes)
        ).numpy()
    assert all(np.array_equal(part, judged[validation.labels == 0]) for part in held)
    seen = {row.tobytes() for part in trained for row in part}
    assert len(seen) == 400
    assert not seen & {row.tobytes() for row in judged}


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_same_seed_gives_the_same_model_on_any_number_of_threads(preset: str) -> None:
    data, _ = sample()
    config = quick(preset, members=1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = scores(fit(data, config, seed=3), data)
        torch.set_num_threads(2)
        two = scores(fit(data, config, seed=3), data)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert one == pytest.approx(two, abs=1e-5)
    assert not np.allclose(one, scores(fit(data, config, seed=4), data))


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("labelled", [0, 1, 3])
def test_twelve_rows_are_enough_to_fit(preset: str, labelled: int) -> None:
    data, _ = sample(rows=12, labelled=labelled)
    scores(fit(data, quick(preset, members=1), seed=0), data)


def test_confirmed_normals_lower_the_score_of_their_like() -> None:
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(1_000, 3))
    numeric[:40, :2] += 4.0  # bad, half of it confirmed
    numeric[40:80] += 4.0  # looks bad and is good
    labels = np.full(1_000, -1, dtype=np.int8)
    labels[:5] = 1
    data = TrainingSet(numeric, np.zeros((1_000, 0), dtype=np.int64), (), labels)
    before = scores(fit(data, FitConfig(), seed=0), data)[60:80].mean()
    labels = labels.copy()
    labels[40:60] = 0
    after = scores(fit(replace(data, labels=labels), FitConfig(), seed=0), data)[60:80].mean()
    assert after < 0.85 * before


def test_rows_all_labelled_are_enough() -> None:
    data, _ = sample(rows=60, labelled=6)
    labels = np.where(data.labels == 1, 1, 0).astype(np.int8)
    scores(fit(replace(data, labels=labels), quick(), seed=0), data)


def test_a_column_without_any_value_does_no_harm() -> None:
    data, _ = sample()
    numeric = data.numeric.copy()
    numeric[:, 1] = np.nan
    scores(fit(replace(data, numeric=numeric), quick(), seed=0), data)


def test_progress_runs_through_the_stages_to_their_end() -> None:
    seen: list[Progress] = []
    data, _ = sample()
    fitted = fit(data, quick(), seed=0, progress=seen.append)
    assert list(dict.fromkeys(p.stage for p in seen)) == ["representation", "joint"]
    assert all(0.0 < p.done <= 1.0 for p in seen)
    assert seen[-1].done == 1.0
    assert len(fitted.history["joint.score"]) == 2


def test_nothing_to_learn_from_is_said_in_a_sentence() -> None:
    data, _ = sample(rows=12)
    with pytest.raises(DataError, match="not labelled anomalies"):
        fit(replace(data, labels=np.ones(12, dtype=np.int8)), quick(), seed=0)
    constant = replace(data, numeric=np.zeros((12, 0)), codes=np.full((12, 1), 2), cardinalities=(3,))
    with pytest.raises(DataError, match="no column varies"):
        fit(constant, quick(), seed=0)


def test_no_held_out_row_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early stopping and prototypes go by the held-out rows; no stage may have seen them."""
    trained, held = watched(monkeypatch)

    def grow(normal: np.ndarray, weight: np.ndarray, anomalous: np.ndarray, **others: Any) -> Forest:
        trained.extend(seen[:, : held[0].shape[1]] for seen in (normal, anomalous))
        return served_forest(normal, weight, anomalous, **others)

    monkeypatch.setattr("nearnorm.training.fitting.fit.served_forest", grow)
    data, _ = sample(rows=400, labelled=5)
    fitted = fit(data, quick(), seed=0)
    rows = fitted.choices["rows"]
    assert isinstance(rows, dict)
    assert rows["held_out"] == 39
    assert rows["unlabelled"] == 395 - 39
    seen = {row.tobytes() for part in trained for row in part}
    assert len(seen) == 400 - 39
    assert not seen & {row.tobytes() for part in held for row in part}

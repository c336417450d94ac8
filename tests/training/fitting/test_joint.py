import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.fitting import joint
from nearnorm.training.fitting.fit import TrainingSet, fit
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.enough import ENOUGH, FEW


def place(count: int, seed: int) -> np.ndarray:
    """Rows of the place that looks bad: [count, 5]."""
    rows = np.random.default_rng(seed).normal(scale=0.7, size=(count, 5))
    rows[:, :2] += 2.5
    return rows


@pytest.mark.parametrize(("anomalies", "better"), [(FEW, True), (2 * ENOUGH, False)])
def test_false_alerts_beside_a_handful_of_anomalies_do_not_teach_the_networks_to_look_away(
    monkeypatch: pytest.MonkeyPatch, anomalies: int, better: bool
) -> None:
    """Forty of the few normals of a bad place are confirmed, and most anomalies of it are hidden."""
    rng = np.random.default_rng(0)
    numeric = np.concatenate([place(anomalies, 1), place(40, 2), place(150, 3), rng.normal(size=(2_000, 5))])
    labels = np.full(len(numeric), -1, dtype=np.int8)
    labels[:anomalies], labels[anomalies : anomalies + 40] = 1, 0
    training = TrainingSet(numeric, np.zeros((len(numeric), 0), dtype=np.int64), (), labels)
    unseen = np.concatenate([place(100, 4), rng.normal(size=(2_000, 5))])
    truth = np.repeat([1, 0], [100, 2_000])

    def precision() -> float:
        detector = fit(training, FitConfig(trees=0), seed=0).detector
        found = score(detector, unseen, np.zeros((len(unseen), 0), dtype=np.int64)).score
        return float(average_precision_score(truth, found))

    found = precision()
    monkeypatch.setattr(joint, "enough", lambda _: 1.0)
    assert (found > precision() + 0.02) is better
    assert (found == precision()) is not better

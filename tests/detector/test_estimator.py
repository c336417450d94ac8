"""The detector among scikit-learn's tools, and with PyOD's meaning."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nearnorm import NearnormDetector
from nearnorm.detector.mistakes import NearnormWarning
from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.training.method.config import FitConfig
from tests.detector.conftest import quietly, small

pytestmark = pytest.mark.filterwarnings("ignore::nearnorm.detector.mistakes.NearnormWarning")


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    """300 rows of which the first 30 lie apart."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), np.zeros(300)
    X[:30] += 6.0
    y[:30] = 1
    return X, y


@pytest.fixture(scope="module")
def fitted(made: tuple[np.ndarray, np.ndarray]) -> NearnormDetector:
    return quietly(small(), *made)


def test_attributes_mean_what_they_do_in_pyod(
    detector: NearnormDetector, payments: pa.Table, labels: pd.Series
) -> None:
    scores = detector.decision_function(payments)
    np.testing.assert_array_equal(scores, detector.decision_scores_)
    np.testing.assert_array_equal(detector.labels_, detector.predict(payments))
    assert set(detector.labels_) == {0, 1}
    assert scores[labels == 1].mean() > scores[labels == 0].mean(), "higher is more anomalous"
    above = scores > detector.threshold_
    assert detector.labels_[above].all()
    assert detector.labels_[labels.isna() & ~above].mean() < 0.01, "what is novel is an anomaly too"


def test_contamination_is_the_share_of_rows_that_are_called_anomalies(
    made: tuple[np.ndarray, np.ndarray],
) -> None:
    X = np.random.default_rng(1).normal(size=(2_000, 2))
    found = quietly(small(contamination=0.2), X)
    assert found.labels_.mean() == pytest.approx(0.2, abs=0.05)


def test_a_contamination_finer_than_the_reference_is_told(made: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.warns(NearnormWarning, match=r"contamination=0.001 is finer than 150 reference rows"):
        small(contamination=0.001).fit(made[0])


def test_proba_has_a_column_for_normal_and_one_for_anomalies(
    fitted: NearnormDetector, made: tuple[np.ndarray, np.ndarray]
) -> None:
    X, _ = made
    for method in ("linear", "unify"):
        proba = fitted.predict_proba(X, method=method)
        assert proba.shape == (300, 2)
        np.testing.assert_allclose(proba.sum(axis=1), 1.0)
        assert ((proba >= 0) & (proba <= 1)).all()
        assert (np.diff(proba[np.argsort(fitted.decision_function(X)), 1]) >= 0).all()
    np.testing.assert_array_equal(fitted.predict_proba(X)[:, 1], fitted.decision_function(X))
    with pytest.raises(ValueError, match='"linear" or "unify"'):
        fitted.predict_proba(X, method="other")


def test_a_verdict_does_not_depend_on_other_rows(fitted: NearnormDetector) -> None:
    novel = np.full((100, 3), 1e6)
    assert fitted.predict(novel).tolist() == [1] * 100
    assert fitted.predict(novel[:1]).tolist() == [1]


def test_it_is_cross_validated_and_searched_by_average_precision_or_any_scorer(
    made: tuple[np.ndarray, np.ndarray],
) -> None:
    X, y = made
    folds = StratifiedKFold(2)
    assert cross_val_score(small(), X, y, cv=folds).min() > 0.5
    search = GridSearchCV(small(), {"embedding": [1, 2]}, scoring="roc_auc", cv=folds).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_estimator_.embedding == search.best_params_["embedding"]


def test_it_ends_a_pipeline(made: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = made
    pipeline = make_pipeline(StandardScaler(), small()).fit(X, y)
    assert pipeline.predict(X).shape == pipeline.decision_function(X).shape == (300,)
    assert pipeline.score(X, y) > 0.5


def test_a_pickled_copy_scores_alike_and_a_clone_is_not_fitted(
    fitted: NearnormDetector, made: tuple[np.ndarray, np.ndarray]
) -> None:
    copy = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    np.testing.assert_array_equal(copy.decision_function(made[0]), fitted.decision_scores_)
    np.testing.assert_array_equal(copy.labels_, fitted.labels_)
    with pytest.raises(NotFittedError):
        clone(fitted).predict(made[0])


def test_a_loaded_detector_saves_all_of_its_bundle(fitted: NearnormDetector, tmp_path: Path) -> None:
    fitted.save(tmp_path / "first")
    NearnormDetector.load(tmp_path / "first", 0.1).save(tmp_path / "second")
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("first", "second"))
    assert first == second
    assert "review.jsonl" in first


def test_a_copy_saves_a_bundle_without_a_report(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    fitted = quietly(small(random_state=5), *made)
    pickle.loads(pickle.dumps(fitted)).save(tmp_path / "copy")  # noqa: S301
    assert read_bundle(tmp_path / "copy").version == fitted.version_
    assert not (tmp_path / "copy" / "report.html").exists()
    assert NearnormDetector.load(tmp_path / "copy").random_state == 5
    fitted.save(tmp_path / "own")
    assert (tmp_path / "own" / "report.html").exists()


def test_the_same_random_state_gives_the_same_model(made: tuple[np.ndarray, np.ndarray]) -> None:
    again = [quietly(small(random_state=state), *made).version_ for state in (3, 3, np.random.RandomState(3))]
    assert again[0] == again[1] != again[2]


def test_every_knob_of_a_fit_is_a_parameter() -> None:
    knobs = {"input_transform" if name == "transform" else name for name in FitConfig.model_fields}
    assert knobs < set(inspect.signature(NearnormDetector).parameters)


def test_a_knob_that_is_given_overrides_the_preset(made: tuple[np.ndarray, np.ndarray]) -> None:
    given = NearnormDetector(0.1, preset="paper", embedding=3, representation_epochs=1, joint_epochs=1)
    found = quietly(given, *made)
    fit = found._bundled.manifest.core.config["fit"]
    assert (fit["embedding"], fit["trees"], fit["members"]) == (3, 0, 1)


def test_a_schema_says_what_columns_are() -> None:
    frame = pd.DataFrame({"mcc": np.arange(200) % 7, "amount": np.linspace(0, 9, 200)})
    found = quietly(small(schema={"mcc": {"kind": "categorical"}}), frame)
    assert [f.name for f in found._bundled.scorer.schema.categorical] == ["mcc"]


def test_the_last_rows_by_a_time_column_judge() -> None:
    frame = pd.DataFrame({"at": pd.date_range("2026-01-01", periods=200, freq="h"), "v": np.arange(200) % 11})
    found = quietly(small(time_column="at"), frame)
    assert found._bundled.manifest.core.data.time_column == "at"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"contamination": 0}, r"contamination=0 is no share: give a number in \(0, 1\)"),
        ({"contamination": "auto"}, "contamination='auto' is no share"),
        ({"members": 0}, "members: Input should be greater than or equal to 1"),
        ({"preset": "fast"}, "preset: Input should be 'default' or 'paper'"),
        ({"schema": {"a": {"kind": "text"}}}, "schema.a.kind: Input should be"),
        ({"random_state": -1}, "random_state=-1: give a number from 0 to"),
        ({"schema": ["a"]}, "schema: Input should be a valid dictionary"),
        ({"time_column": "at"}, "time_column='at': X has no such column"),
        ({"label_column": "x0"}, "X has a column 'x0', as the bundle calls the labels"),
    ],
)
def test_a_wrong_parameter_is_named(
    made: tuple[np.ndarray, np.ndarray], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(made[0])


def test_the_wrapper_turns_the_signs(fitted: NearnormDetector, made: tuple[np.ndarray, np.ndarray]) -> None:
    X, _ = made
    outlier = fitted.as_sklearn_outlier()
    np.testing.assert_array_equal(outlier.predict(X), np.where(fitted.predict(X) == 1, -1, 1))
    np.testing.assert_array_equal(outlier.score_samples(X), -fitted.decision_function(X))
    np.testing.assert_array_equal(
        outlier.decision_function(X) < 0, fitted.decision_function(X) > fitted.threshold_
    )


def test_the_wrapper_fits_a_copy_without_labels(made: tuple[np.ndarray, np.ndarray]) -> None:
    wrapped = small()
    found = quietly(wrapped.as_sklearn_outlier(), made[0], np.full(300, -1))
    assert not wrapped.__sklearn_is_fitted__()
    assert set(found.predict(made[0])) == {-1, 1}

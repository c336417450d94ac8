"""The detector with scikit-learn's meaning of an outlier: -1, and lower is more anomalous."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags, get_tags

from nearnorm.detector.estimator import NearnormDetector


class SklearnOutlier(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships without types
    """What scikit-learn's own outlier detectors give, by a `detector`, which may be fitted already.

    `predict` is -1 where the detector's is 1. `decision_function` is `score_samples` less `offset_`: below 0
    where a score is above the detector's `threshold_`. As everywhere among scikit-learn's outlier detectors y
    is ignored, whose -1 and 1 would mean something else: to learn from labels, wrap a fitted detector.
    """

    def __init__(self, detector: NearnormDetector) -> None:
        self.detector = detector

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ANN401
        """Fit a copy of the detector, `detector_`, without labels."""
        self.detector_ = clone(self.detector).fit(X)
        return self

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]:  # noqa: ANN401
        """[n] -1 for outliers among the rows of the fit, else 1."""
        return _signed(self.fit(X).detector_.labels_)

    def predict(self, X: Any) -> NDArray[np.int64]:  # noqa: ANN401
        """[n] -1 for outliers, else 1."""
        return _signed(self._in_force().predict(X))

    def score_samples(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """[n] the detector's scores with the sign reversed."""
        return -self._in_force().decision_function(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """[n] below 0 for outliers by their score."""
        return self.score_samples(X) - self.offset_

    @property
    def offset_(self) -> float:
        return -self._in_force().threshold_

    @property
    def n_features_in_(self) -> int:
        return self._in_force().n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        return self._in_force().feature_names_in_

    def _in_force(self) -> NearnormDetector:
        return self.detector_ if hasattr(self, "detector_") else self.detector

    def __sklearn_is_fitted__(self) -> bool:
        return self._in_force().__sklearn_is_fitted__()

    def __sklearn_tags__(self) -> Tags:
        tags, own = super().__sklearn_tags__(), get_tags(self.detector)
        tags.input_tags, tags.classifier_tags = own.input_tags, own.classifier_tags
        return tags


def _signed(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(labels == 1, -1, 1)

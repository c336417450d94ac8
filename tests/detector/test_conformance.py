"""scikit-learn's own checks, and which of them ask for what the detector does not mean."""

import warnings
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import check_estimator

from tests.detector.conftest import small

_FLOATS = "scores are float32, and another batch rounds them otherwise: by 1e-6, where 1e-7 is asked"
_Y = (
    "the check's y calls most of some 20 rows anomalies: normal is learnt from ten rows or more that are "
    "none. "
    "Without y the detector passes, as its wrapper shows"
)
SUBSET = {"check_methods_subset_invariance": _FLOATS}
WITH_Y = {
    "check_estimators_overwrite_params": _Y,
    "check_dont_overwrite_parameters": _Y,
    "check_estimators_fit_returns_self": _Y,
    "check_readonly_memmap_input": _Y,
    "check_n_features_in_after_fitting": _Y,
    "check_f_contiguous_array_estimator": _Y,
    "check_methods_sample_order_invariance": _Y,
    "check_methods_subset_invariance": _Y,
    "check_fit2d_1feature": _Y,
    "check_dict_unchanged": _Y,
    "check_fit2d_predict1d": _Y,
    "check_estimators_dtypes": "the check's y has six values: a label is 1 or 0",
}


def failed(estimator: BaseEstimator, expected: dict[str, str]) -> dict[str, Any]:
    """The checks that fail and are not expected to, and those that are expected to and pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, expected_failed_checks=expected, on_skip=None, on_fail=None)
    wrong = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    return wrong | dict.fromkeys(passed & expected.keys(), "passes: it need not be expected to fail")


@pytest.mark.parametrize("labelled", [True, False])
def test_scikit_learns_checks_pass(labelled: bool) -> None:
    detector = small()
    if labelled:
        assert failed(detector, WITH_Y) == {}
    else:
        assert failed(detector.as_sklearn_outlier(), SUBSET) == {}

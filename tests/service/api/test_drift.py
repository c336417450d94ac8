"""GET /drift and its metrics, fed through POST /score of a running service."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.api.test_health import value
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD, problem


@pytest.fixture
def fresh(tmp_path: Path, bundle: Bundle) -> Iterator[httpx.Client]:
    with serving(create_app(Settings(home=home_with(tmp_path, bundle)))) as client:
        yield client


def test_before_any_traffic_nothing_drifts(fresh: httpx.Client, bundle: Bundle) -> None:
    answer = fresh.get("/drift").json()
    assert answer["model"] == {"name": "default", "version": bundle.version}
    assert (answer["rows"], answer["window"], answer["drifting"]) == (0, 0, False)
    assert {feature["name"] for feature in answer["features"]} == {
        feature.name for feature in bundle.manifest.core.features.scored
    }
    assert answer["reports"] == answer["candidate_groups"] == []
    assert value(fresh, "nearnorm_drift_window_rows", model="default") == 0
    told = fresh.get("/metrics").text
    shares = ("nearnorm_feature_missing_ratio{", "nearnorm_prototype_ratio{", "nearnorm_far_ratio{")
    assert not [share for share in shares if share in told], "a share of no rows is not 0"


def test_one_record_again_and_again_is_a_drift_of_everything_that_varies(fresh: httpx.Client) -> None:
    for _ in range(4):
        fresh.post("/score", json={"records": [RECORD] * 500}).raise_for_status()
    answer = fresh.get("/drift").json()
    assert (answer["rows"], answer["window"], answer["drifting"]) == (2_000, 2_000, True)
    (amount,) = [feature for feature in answer["features"] if feature["name"] == "amount"]
    assert amount["psi"] > 0.2
    assert amount["drifted_since"] <= answer["reports"][0]["at"]
    assert sum(answer["prototypes"]["shares"]) == pytest.approx(1.0)
    assert value(fresh, "nearnorm_drift_psi", signal="amount", kind="numeric") == pytest.approx(amount["psi"])
    assert value(fresh, "nearnorm_drifting", signal="amount") == 1
    assert value(fresh, "nearnorm_drift_reports_total") == len(answer["reports"])
    assert value(fresh, "nearnorm_drift_window_rows", model="default") == 2_000
    assert value(fresh, "nearnorm_feature_missing_ratio", model="default", feature="amount") == 0


def test_an_unknown_model_is_a_problem(fresh: httpx.Client) -> None:
    problem(fresh.get("/drift", params={"model": "other"}), 404, "unknown-model")

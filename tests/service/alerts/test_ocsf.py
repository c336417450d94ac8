"""Detection Findings, held to OCSF's schema, whatever a record and its reasons hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nearnorm.service.alerts.alert import Alert, plain
from nearnorm.service.alerts.ocsf import SCHEMA_VERSION, finding, no_alert
from nearnorm.service.records.shapes import Reason
from tests.service.alerts.ocsf_schema import VERSIONS, mistakes

NUMBER = {"low": 20.0, "median": 61.5, "high": 140.0, "missing": 0.0}
COUNTRY = {"shares": {"AT": 0.1, "DE": 0.7, "CH": 0.1, "FR": 0.05, "IT": 0.05}, "missing": 0.0}
EMPTY = Alert("01K" + "0" * 23, 1_790_000_000_123, "default", "a" * 64, 0.91, 99.52)


def reason(feature: str, value: Any, expected: dict[str, Any]) -> Reason:
    return Reason(feature, value, expected, 0.9, 0.1, 0.3179, 0.3179, 0.4)


FULL = replace(
    EMPTY,
    id="tx-1",
    record={"amount": 900.0, "country": None, "new device": True},
    link="https://desk.example.com/verdict?token=a.b.1.c",
    reasons=[
        reason("amount", 900.0, NUMBER),
        reason("country", None, COUNTRY),
        reason("new device", True, {"low": 0.0, "median": 0.0, "high": 1.0, "missing": 0.0}),
        reason("at", "2026-01-31T03:00:00", {"low": 8.0, "median": 12.5, "high": 25.0, "missing": 0.0}),
        reason("never sent", 3.0, {"missing": 1.0}),
    ],
)
WITHHELD = replace(FULL, record=None, left_out="it is larger than 16 KiB")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alert", [EMPTY, FULL, WITHHELD])
def test_a_finding_is_valid_by_each_schema_since_the_one_that_it_names(alert: Alert, version: str) -> None:
    assert VERSIONS[0] == SCHEMA_VERSION
    assert mistakes(finding(alert), version) == []
    assert mistakes(no_alert("msg_1", 1, "A test"), version) == []


def test_what_the_schema_does_not_allow_is_found() -> None:
    wrong = finding(FULL)
    wrong["severity"] = "Grave"
    wrong["anomaly_analyses"][0]["anomalies"][0].pop("observations")
    assert mistakes(wrong) == [
        "$.anomaly_analyses[0].anomalies[0]: 'observations' is a required property",
        "$.severity: 'Grave' is not 'Medium'",
    ]


def test_values_of_the_record_stand_beside_those_of_its_normal_group() -> None:
    (analysis,) = finding(FULL)["anomaly_analyses"]
    assert analysis["analysis_targets"] == [{"name": "tx-1", "type": "Record"}]
    observed = {one["observation_parameter"]: values(one) for one in analysis["anomalies"]}
    assert observed == {
        "percentile": ["99.52"],
        "amount": ["900.0"],
        "country": ["null"],
        "new device": ["true"],
        "at": ["2026-01-31T03:00:00"],
        "never sent": ["3.0"],
    }
    usual = {one["observation_parameter"]: values(one) for one in analysis["baselines"]}
    assert usual == {
        "amount": ["20.0", "61.5", "140.0"],
        "country": ["DE", "AT", "CH"],
        "new device": ["false", "false", "true"],
        "at": ["08:00", "12:30", "01:00"],
    }


def test_without_the_record_no_value_is_told() -> None:
    found = finding(WITHHELD)
    (analysis,) = found["anomaly_analyses"]
    assert "baselines" not in analysis
    assert [one["observation_parameter"] for one in analysis["anomalies"]][1] == "amount"
    assert {value for one in analysis["anomalies"][1:] for value in values(one)} == {"0.3179"}
    assert "evidences" not in found
    assert "2026-01-31T03" not in str(found)
    assert found["unmapped"]["record_left_out"]


def test_severity_goes_by_how_rare_the_record_is() -> None:
    severities = [finding(replace(EMPTY, percentile=p))["severity"] for p in (61.0, 99.89, 99.9)]
    assert severities == ["Medium", "Medium", "High"]


def test_a_finding_is_known_again_by_its_event() -> None:
    found = finding(FULL)
    assert found["metadata"]["uid"] == found["finding_info"]["uid"] == FULL.event_id
    assert found["finding_info"]["uid_alt"] == "tx-1"
    assert found["time"] == FULL.at


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
VALUES = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT


@given(id_=TEXT, record=st.dictionaries(TEXT, VALUES, min_size=1, max_size=3), percentile=st.floats(0, 100))
def test_whatever_a_record_holds_its_finding_is_valid(
    id_: str, record: dict[str, Any], percentile: float
) -> None:
    reasons = [reason(name, value, NUMBER) for name, value in record.items()]
    alert = replace(EMPTY, id=id_, record=record, percentile=percentile, reasons=reasons)
    assert mistakes(finding(alert)) == []
    assert plain(alert)["reasons"] == list(record)


def values(observed: dict[str, Any]) -> list[str]:
    return [one["value"] for one in observed["observations"]]

"""An alert as a Detection Finding of the Open Cybersecurity Schema Framework, with its anomaly analysis.

Plain dictionaries: of the framework's hundreds of shapes this takes one, and tests hold it to the schema.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from nearnorm import __version__
from nearnorm.service.alerts.alert import Alert
from nearnorm.service.records.shapes import Reason
from nearnorm.service.verdict.groups import clock

SCHEMA_VERSION = "1.5.0"
"""The first that has anomaly analyses; what is valid by it is valid by all of 1.x after it."""
HIGH_FROM = 99.9
"""Percentile from which an alert is of high severity, else it is of medium: rarer than one in 1,000."""
_MOST_CATEGORIES = 3  # of a baseline

_INFORMATIONAL, _MEDIUM, _HIGH = (1, "Informational"), (3, "Medium"), (4, "High")
_SHARED = {
    "activity_id": 1,
    "activity_name": "Create",
    "category_uid": 2,
    "category_name": "Findings",
    "class_uid": 2004,
    "class_name": "Detection Finding",
    "type_uid": 200401,
    "type_name": "Detection Finding: Create",
}


def finding(alert: Alert) -> dict[str, Any]:
    """A Detection Finding. The record's values are in it where the alert has the record."""
    title = f"Anomaly of model {alert.model} at percentile {alert.percentile:.2f}"
    severity = _HIGH if alert.percentile >= HIGH_FROM else _MEDIUM
    found = _finding(alert.event_id, alert.at, title, severity)
    info = found["finding_info"]
    info |= {
        "types": ["Anomaly"],
        "analytic": {
            "name": alert.model,
            "version": alert.model_version,
            "type_id": 4,
            "type": "Learning (ML/DL)",
        },
    }
    if alert.id is not None:
        info["uid_alt"] = alert.id
    if alert.link is not None:
        info["src_url"] = alert.link
    if alert.record is not None:
        found["evidences"] = [{"name": "Record", "data": alert.record}]
    unmapped = {
        "score": alert.score,
        "percentile": alert.percentile,
        "record_left_out": alert.left_out,
    }
    return found | {
        "is_alert": True,
        "anomaly_analyses": [_analysis(alert)],
        "unmapped": {name: value for name, value in unmapped.items() if value is not None},
    }


def no_alert(uid: str, at: int, title: str) -> dict[str, Any]:
    """What tests whether findings arrive; `at` in ms since 1970."""
    return _finding(uid, at, title, _INFORMATIONAL) | {"is_alert": False}


def _finding(uid: str, at: int, title: str, severity: tuple[int, str]) -> dict[str, Any]:
    return {
        **_SHARED,
        "severity_id": severity[0],
        "severity": severity[1],
        "time": at,
        "message": title,
        "metadata": {
            "version": SCHEMA_VERSION,
            "uid": uid,
            "product": {"name": "Nearnorm", "vendor_name": "Nearnorm", "version": __version__},
        },
        "finding_info": {"uid": uid, "title": title, "created_time": at},
    }


def _analysis(alert: Alert) -> dict[str, Any]:
    """The rank of the record, then what raises its score: by values beside those of its normal group where
    the record may be seen, else by how much."""
    anomalies = [_observed("percentile", "Rank among normal records", [f"{alert.percentile:.2f}"])]
    baselines: list[dict[str, Any]] = []
    for reason in alert.reasons:
        if alert.record is None:
            anomalies.append(
                _observed(reason.feature, "Effect on the score's log-odds", [f"{reason.effect}"])
            )
            continue
        anomalies.append(_observed(reason.feature, "Value", [_text(reason.value)]))
        baselines += _baseline(reason)
    analysis: dict[str, Any] = {
        "analysis_targets": [{"name": alert.id or alert.event_id, "type": "Record"}],
        "anomalies": anomalies,
    }
    return analysis | {"baselines": baselines} if baselines else analysis


def _baseline(reason: Reason) -> list[dict[str, Any]]:
    """What the record's nearest normal group has; nothing where its rows have no value."""
    expected, value = reason.expected, reason.value
    numbers = [expected[name] for name in ("low", "median", "high") if name in expected]
    pattern = "5th percentile, median, 95th percentile of the nearest normal group"
    if not numbers:
        shares = expected.get("shares", {})
        values = sorted(shares, key=lambda name: -shares[name])[:_MOST_CATEGORIES]
        pattern = "Most frequent of the nearest normal group"
    elif isinstance(value, str):  # a time: its group has hours of the day
        values = [clock(hour) for hour in numbers]
    else:
        values = [_text(bool(number) if isinstance(value, bool) else number) for number in numbers]
    return [_observed(reason.feature, "Value", values, pattern)] if values else []


def _observed(parameter: str, kind: str, values: Sequence[str], pattern: str | None = None) -> dict[str, Any]:
    """An anomaly, or a baseline."""
    found: dict[str, Any] = {
        "observation_parameter": parameter,
        "observation_type": kind,
        "observations": [{"value": value} for value in values],
    }
    return found if pattern is None else found | {"observed_pattern": pattern}


def _text(value: object) -> str:
    """Texts as they are, all else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

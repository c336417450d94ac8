"""Every PromQL expression that deploy/ holds, as Prometheus would be asked for it."""

import json
import re
from typing import Any

import yaml

from tests.deploy.dockerfile import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/dashboards/nearnorm.json"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[str]:
    return [rule["alert"] for rule in rules() if "alert" in rule]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return document


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def of_rules() -> list[str]:
    """An alert's expression without its threshold: while all is well it has no data with it."""
    return [
        re.sub(r" [<>] [\d.]+$", "", rule["expr"]) if "alert" in rule else rule["expr"] for rule in rules()
    ]


def of_dashboard() -> list[str]:
    raw = [target["expr"] for panel in panels() for target in panel["targets"]]
    raw += [a["expr"].removesuffix(" > 0") for a in dashboard()["annotations"]["list"]]
    return [text.replace("$__rate_interval", "1m").replace("$model", ".*") for text in raw]


def metric_names(expression: str) -> set[str]:
    return set(re.findall(r"\bnearnorm_[a-z_]+|\bnearnorm:[a-z_0-9:]+", expression))

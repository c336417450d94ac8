"""The operations page, against what the service, the rules and the dashboard really have."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.deploy.dockerfile import ROOT
from tests.deploy.expressions import alerts, dashboard, metric_names, of_dashboard, of_rules, rules
from tests.service.running import serving

PAGE = (ROOT / "docs/operations.md").read_text()


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> list[Metric]:
    app = create_app(Settings(home=tmp_path_factory.mktemp("home")))
    with serving(app):
        return list(app.state.metrics.registry.collect())


def documented() -> set[str]:
    table = PAGE.partition("## Metrics")[2]
    return {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
        for name in row[1:-1].split("`, `")
    }


def full_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_every_metric_is_documented_and_nothing_else(exposed: list[Metric]) -> None:
    assert {full_name(metric) for metric in exposed} == documented()


def test_every_metric_has_help_and_a_unit_where_it_has_one(exposed: list[Metric]) -> None:
    for metric in exposed:
        assert metric.documentation, metric.name
        assert not re.search(r"_(ms|millis|percent|mb|minutes)\b", metric.name), metric.name


def test_rules_and_dashboard_ask_only_for_what_there_is(exposed: list[Metric]) -> None:
    known = {full_name(metric) for metric in exposed} | {
        rule["record"] for rule in rules() if "record" in rule
    }
    known |= {
        f"{m.name}_{part}" for m in exposed if m.type == "histogram" for part in ("bucket", "sum", "count")
    }
    for expression in of_rules() + of_dashboard():
        assert metric_names(expression) <= known, expression


def test_every_alert_is_explained() -> None:
    explained = re.findall(r"^\| (Nearnorm\w+) \|", PAGE, re.MULTILINE)
    assert sorted(explained) == sorted(alerts())


def test_every_row_of_the_dashboard_is_explained() -> None:
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            assert f"**{panel['title'].rstrip('.')}" in PAGE, panel["title"]


def test_every_file_that_the_page_names_is_there() -> None:
    for target in re.findall(r"\]\((?!https:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"deploy/[\w/.-]+", PAGE):
        assert Path(ROOT / path).exists(), path

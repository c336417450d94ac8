"""Alertmanager takes the route that is shipped, and every rule's alert finds its receiver there."""

import shutil
import subprocess

import pytest
import yaml

from tests.deploy.expressions import PROMETHEUS

FILE = "alertmanager.yml"
needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="needs amtool (Debian's package prometheus-alertmanager)"
)


def amtool(*words: str) -> str:
    done = subprocess.run(["amtool", *words], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_amtool
def test_the_shipped_route_is_valid() -> None:
    assert "SUCCESS" in amtool("check-config", FILE)


@needs_amtool
@pytest.mark.parametrize(("severity", "receiver"), [("page", "pages"), ("ticket", "tickets")])
def test_an_alert_of_each_severity_finds_its_receiver(severity: str, receiver: str) -> None:
    found = amtool("config", "routes", "test", f"--config.file={FILE}", f"severity={severity}")
    assert found.strip() == receiver


def test_there_is_a_route_for_every_severity_of_the_rules() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    severities = {
        rule["labels"]["severity"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }
    routes = yaml.safe_load((PROMETHEUS / FILE).read_text())["route"]["routes"]
    assert {matcher for route in routes for matcher in route["matchers"]} == {
        f'severity="{severity}"' for severity in severities
    }

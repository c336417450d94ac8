"""Alertmanager takes the route that is shipped, and every rule's alert finds its receiver there."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.deploy.expressions import PROMETHEUS
from tests.deploy.test_compose import services
from tests.ports import free_port

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


@needs_amtool
def test_alertmanager_starts_with_the_shipped_route_and_prometheus_finds_it_healthy(tmp_path: Path) -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    options = services()["alertmanager"]["command"][2:]
    with running(
        *(
            "prometheus-alertmanager",
            f"--config.file={PROMETHEUS / FILE}",
            f"--storage.path={tmp_path}/state",
        ),
        *options,
        folder=tmp_path,
    ) as alertmanager:
        assert alertmanager.get(path_of_health("alertmanager")).status_code == 200
        (target,) = config["alerting"]["alertmanagers"]
        target["static_configs"] = [{"targets": [f"127.0.0.1:{alertmanager.base_url.port}"]}]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(PROMETHEUS / "rules.yml", tmp_path)
        with running(
            *(
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
            ),
            folder=tmp_path,
        ) as prometheus:
            assert prometheus.get(path_of_health("prometheus")).status_code == 200
            found: list[dict[str, str]] = []
            while not found:
                time.sleep(0.1)
                found = prometheus.get("/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
    assert found == [{"url": f"{alertmanager.base_url}/api/v2/alerts"}]


def path_of_health(name: str) -> str:
    """Of the compose file."""
    return str(urlsplit(services()[name]["healthcheck"]["test"][-1]).path)


@contextmanager
def running(*words: str, folder: Path) -> Iterator[httpx.Client]:
    """A client of a program that listens, once it is ready."""
    port = free_port()
    with (folder / words[0]).open("w") as log:
        process = subprocess.Popen(
            [*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=folder
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            while not is_ready(client):
                assert process.poll() is None, (folder / words[0]).read_text()
                time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait()


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").is_success
    except httpx.TransportError:
        return False


def test_there_is_a_route_for_every_severity_of_the_rules() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    severities = {
        rule["labels"]["severity"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }
    routes = yaml.safe_load((PROMETHEUS / FILE).read_text())["route"]["routes"]
    assert {matcher for route in routes for matcher in route["matchers"]} == {
        f'severity="{severity}"' for severity in severities
    }

"""Rules by promtool, and a real Prometheus that scrapes the real service."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from nearnorm.service.app import Application, create_app
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import backups
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.metrics import collectors
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies
from tests.deploy.expressions import PROMETHEUS, alerts, of_dashboard, of_rules
from tests.ports import free_port
from tests.service.running import serving

RULES_TESTS = ("rules_test.yml", "rules_of_days_test.yml")
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("prometheus")),
    reason="needs prometheus and promtool (Debian's package prometheus)",
)


TRIES = 3
"""Where other work had the machine a rule of several days once found nothing, probably as promtool packs what
is older than a day into blocks meanwhile. A rule that is wrong finds nothing every time."""


def promtool_said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], cwd=PROMETHEUS, capture_output=True, text=True)


def promtool(*words: str) -> str:
    done = promtool_said(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_the_configuration_and_its_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


@needs_prometheus
@pytest.mark.timeout(1_200)  # promtool reckons for minutes where other work has the machine
def test_alerts_tell_and_keep_still_as_their_unit_tests_say() -> None:
    for file in RULES_TESTS:
        told = [promtool_said("test", "rules", file)]
        while told[-1].returncode and len(told) < TRIES:
            told.append(promtool_said("test", "rules", file))
        assert told[-1].returncode == 0, told[-1].stdout + told[-1].stderr


def test_every_alert_has_both_unit_tests() -> None:
    files = [yaml.safe_load((PROMETHEUS / name).read_text()) for name in RULES_TESTS]
    names = [test["name"] for file in files for test in file["tests"]]
    assert sorted(names) == sorted(f"{a} {what}" for a in alerts() for what in ("keeps still", "tells"))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Prometheus with the shipped configuration, but for the target's address and the pace."""
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(PROMETHEUS / "rules.yml", folder)
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    paced = pytest.MonkeyPatch()
    paced.setattr(collectors, "READ_EVERY", 0.5)
    settings = Settings(home=folder / "home", audit_rate=1.0)
    app = create_app(settings)
    with serving(app) as service:
        hour_of_traffic(app)
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{service.base_url.port}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        with (folder / "prometheus.log").open("w") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                use(service, client, folder / "prometheus.log")
                yield client
        finally:
            process.terminate()
            process.wait(20)
            paced.undo()


def hour_of_traffic(app: Application) -> None:
    """What a forecast is made from, and a backup."""
    services, model = app.state.services, app.state.registry.first(EVERY_LINE)
    now = now_ms() // 3_600_000
    past = Counted(
        "default", now - 1, model.ref.version, "anonymous", 1000, 5, 0, 0, 0, {500: 900.0, 1300: 100.0}
    )
    with services.ledger.write() as connection:
        traffic.put(connection, "past", [past])
        backups.put(connection, "backup", now_ms())
        change = policies.Change(budget="3000 a day")
        _, in_force = policies.put(connection, change, services.follower.ground(model), "a test")
    services.follower.adopt(model, in_force)


def use(service: httpx.Client, client: httpx.Client, log: Path) -> None:
    """Traffic, and labels on it, until Prometheus has seen several scrapes of all that."""
    record = {"f1": 45, "f2": 0, "f3": 80, "f4": 1, "f5": 40, "f6": 2, "f7": 38, "f8": 40, "f9": 2}
    strange = record | {"f1": 9000, "f4": -9000}
    deadline = time.monotonic() + 60
    scraped = 0.0
    while scraped < 8:
        assert time.monotonic() < deadline, log.read_text()
        records = [record | {"f4": i % 5} for i in range(50)] + [strange]
        answer = service.post("/score", json={"records": records}).raise_for_status().json()
        if not scraped:
            labels = [
                {"event_id": answer["results"][i]["event_id"], "label": label}
                for i, label in ((0, "normal"), (50, "anomaly"))
            ]
            service.post("/feedback", json={"labels": labels}).raise_for_status()
        time.sleep(0.25)
        try:
            if client.get("/-/ready").is_success:  # before, it listens and answers no query
                scraped = value(client, "sum(count_over_time(up[1m]))")
        except httpx.TransportError:  # Prometheus is not listening yet
            continue


def query(client: httpx.Client, expression: str) -> list[dict[str, object]]:
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    result: list[dict[str, object]] = answer["data"]["result"]
    return result


def value(client: httpx.Client, expression: str) -> float:
    found = query(client, expression)
    sample = found[0]["value"] if found else [0, "0"]
    assert isinstance(sample, list)
    return float(sample[1])


@needs_prometheus
@pytest.mark.parametrize("expression", of_rules())
def test_an_expression_of_the_rules_has_data(prometheus: httpx.Client, expression: str) -> None:
    assert query(prometheus, shown_at_once(expression))


@needs_prometheus
@pytest.mark.parametrize("expression", of_dashboard())
def test_an_expression_of_the_dashboard_has_data(prometheus: httpx.Client, expression: str) -> None:
    assert query(prometheus, shown_at_once(expression))


def shown_at_once(expression: str) -> str:
    """What takes hundreds of random labels has no data, and not a 0, before."""
    if "nearnorm_recall_ratio" in expression:
        return "nearnorm_recall_labels_needed unless on (model) nearnorm_recall_ratio"
    if "nearnorm_feature_unknown_ratio" in expression:  # the sample has no categories
        return "nearnorm_model_info unless on (model) nearnorm_feature_unknown_ratio"
    return expression


@needs_prometheus
def test_what_is_scraped_is_what_happened(prometheus: httpx.Client) -> None:
    rows, kept, scores = (
        value(prometheus, f"sum({name})")
        for name in ("nearnorm_rows_total", "nearnorm_events_kept_total", "nearnorm_score_count")
    )
    assert rows > 0
    assert rows % 51 == 0
    assert rows == kept == scores
    assert value(prometheus, 'nearnorm_verdicts{verdict="anomaly"}') == 1


@needs_prometheus
def test_nothing_but_the_made_up_drift_is_alerted_on(prometheus: httpx.Client) -> None:
    firing = prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
    names = {alert["labels"]["alertname"] for alert in firing}
    made_up = {"NearnormDrift", "NearnormNovelty", "NearnormOldModel", "NearnormAlertFlood"}
    young = {"NearnormBudgetUnused"}  # here nothing has to last
    assert names <= {*made_up, *young, "NearnormSlow"}  # which a busy machine may well be

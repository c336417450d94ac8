"""The compose file, against the published schema and against what the images and services really are."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from nearnorm.service.settings import Settings
from tests.deploy.dockerfile import ROOT, environment, last, stages
from tests.deploy.expressions import panels

COMPOSE = ROOT / "deploy/compose.yaml"


def services() -> dict[str, Any]:
    document: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())
    return document["services"]


def test_the_file_obeys_the_compose_schema() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", COMPOSE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_what_is_built_here_is_a_target_of_the_dockerfile() -> None:
    built = {name: service["build"] for name, service in services().items() if "build" in service}
    assert built
    for build in built.values():
        assert (COMPOSE.parent / build["context"] / "Dockerfile").is_file()
        assert build["target"] in stages()


def test_every_container_is_read_only_and_without_capabilities() -> None:
    for name, service in services().items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_every_container_is_bounded_in_memory_processes_and_log() -> None:
    for name, service in services().items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["pids_limit"] > 0, name
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name


def test_the_limits_leave_the_machine_that_they_are_for_room() -> None:
    assert "8 GB" in COMPOSE.read_text()
    size = {"m": 2**20, "g": 2**30}
    limits = [str(service["mem_limit"]) for service in services().values()]
    assert sum(int(limit[:-1]) * size[limit[-1]] for limit in limits) < 8e9


def test_every_container_is_asked_for_its_health_but_the_worker() -> None:
    for name, service in services().items():
        of_image = last(service["build"]["target"], "HEALTHCHECK") if "build" in service else None
        asked = "healthcheck" in service or of_image not in (None, "NONE")
        assert asked == (name != "worker"), name


def test_prometheus_tells_the_alertmanager_that_is_started() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (told,) = config["alerting"]["alertmanagers"]
    ((target,),) = [one["targets"] for one in told["static_configs"]]
    name, port = target.split(":")
    assert services()[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    (file,) = [option for option in services()[name]["command"] if option.startswith("--config.file=")]
    mounted = f"./prometheus/alertmanager.yml:{file.partition('=')[2]}:ro"
    assert mounted in services()[name]["volumes"]


def test_files_mounted_from_the_repository_exist() -> None:
    for service in services().values():
        for volume in service.get("volumes", []):
            source = str(volume).split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists(), source


def test_prometheus_scrapes_the_service_where_it_listens() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["service:8000"]}]
    assert services()["service"]["ports"] == ["127.0.0.1:8000:8000"]


def test_volumes_hold_what_must_survive_a_new_container() -> None:
    home = environment("service")["NEARNORM_HOME"]
    assert f"home:{home}" in services()["service"]["volumes"]


def test_only_this_machine_can_reach_what_is_published() -> None:
    for name, service in services().items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_service_and_worker_share_one_ledger_and_one_store() -> None:
    service, worker = services()["service"], services()["worker"]
    for part in ("volumes", "tmpfs"):
        assert service[part] == worker[part]
    assert service["environment"]["NEARNORM_DATABASE_URL"] == worker["environment"]["NEARNORM_DATABASE_URL"]


def test_a_stopping_service_is_given_the_time_it_may_take() -> None:
    grace = int(services()["service"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["stop_seconds"].default


def test_no_secret_is_written_down() -> None:
    for service in services().values():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "URL" in key:
                assert "${" in value, key


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/nearnorm.yaml").read_text())["providers"]
    assert source["url"] == "http://prometheus:9090"
    assert source["uid"] == panels()[0]["datasource"]["uid"]
    mounts = [str(volume).split(":") for volume in services()["grafana"]["volumes"]]
    (dashboards,) = [source for source, target, *_ in mounts if target == provider["options"]["path"]]
    assert (COMPOSE.parent / dashboards / "nearnorm.json").is_file()
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/nearnorm.json"

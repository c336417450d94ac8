"""The compose file, against the published schema and against what the images and services really are."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.dockerfile import ROOT, environment, stages

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
    assert "8000:8000" in services()["service"]["ports"]


def test_volumes_hold_what_must_survive_a_new_container() -> None:
    home = environment("service")["NEARNORM_HOME"]
    assert f"home:{home}" in services()["service"]["volumes"]

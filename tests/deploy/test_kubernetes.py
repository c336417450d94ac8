"""The manifests, against Kubernetes' schemas and against what the images and settings really are."""

import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from typer.testing import CliRunner

from nearnorm.service.cli.main import cli
from nearnorm.service.settings import PREFIX, Settings
from tests.deploy.dockerfile import ROOT, environment, last, stages
from tests.deploy.restricted import violations

FOLDER = ROOT / "deploy/kubernetes"
MANIFESTS = sorted(p for p in (FOLDER / "base").glob("*.yaml") if p.name != "kustomization.yaml")


def documents() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] == kind]


def pods() -> dict[str, dict[str, Any]]:
    """Pod templates by the name of what makes them."""
    return {
        document["metadata"]["name"]: document["spec"]["template"]
        for document in documents()
        if document["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def containers() -> dict[str, dict[str, Any]]:
    return {name: pod["spec"]["containers"][0] for name, pod in pods().items()}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_obeys_the_schema(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, "1.34", strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    named = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["resources"]
    assert sorted(named) == [path.name for path in MANIFESTS]


def test_pods_keep_to_the_restricted_standard_and_to_the_images_user() -> None:
    assert len(pods()) == 3
    user = int((last("service", "USER") or "0").split(":")[0])
    for name, pod in pods().items():
        assert violations(pod["spec"]) == [], name
        security = pod["spec"]["securityContext"]
        assert security["runAsUser"] == security["fsGroup"] == user, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        assert containers()[name]["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_no_pod_is_given_service_links_which_are_named_as_settings_are() -> None:
    for name, pod in pods().items():
        assert pod["spec"]["enableServiceLinks"] is False, name


def test_the_number_of_replicas_is_the_autoscalers_alone() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    (deployment,) = of_kind("Deployment")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]


DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [{"name": "pods", "namespaced": True, "kind": "Pod", "verbs": ["create", "get"]}],
    },
}


ONCE = {
    line: line.partition(" -- ")[2]
    for line in re.findall(
        r"^    (kubectl -n nearnorm run (?:.*\\\n)*.*)", (ROOT / "docs/operations.md").read_text(), re.M
    )
}
"""Every documented line that runs a command in a pod of its own, and the command."""


def test_two_commands_that_run_once_are_documented() -> None:
    assert [words.split()[:2] for words in ONCE.values()] == [["nearnorm", "keys"], ["nearnorm", "models"]]


class Cluster(BaseHTTPRequestHandler):
    """As much of an API server as `kubectl run` asks, which keeps the pod that is sent and refuses it."""

    pods: ClassVar[list[dict[str, Any]]] = []

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        found = DISCOVERY.get(self.path.partition("?")[0])
        self.answer(found or {}, 200 if found else 404)

    def do_POST(self) -> None:
        self.pods.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403}, 403)

    def answer(self, document: dict[str, Any], status: int) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
@pytest.mark.parametrize(("line", "words"), ONCE.items(), ids=list(ONCE.values()))
def test_a_command_that_runs_once_makes_a_pod_as_guarded_as_the_others(
    line: str, words: str, tmp_path: Path
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Cluster) as cluster:
        threading.Thread(target=cluster.serve_forever, daemon=True).start()
        try:
            options = f"--cache-dir={tmp_path} --server=http://127.0.0.1:{cluster.server_port}"
            asked = line.replace("kubectl", f"kubectl {options}", 1)
            subprocess.run(["bash", "-c", asked], cwd=ROOT, stdin=subprocess.DEVNULL, timeout=60)
        finally:
            cluster.shutdown()
    pod = Cluster.pods.pop()
    pod["metadata"].pop("creationTimestamp")
    kubernetes_validate.validate(pod, "1.34")
    assert violations(pod["spec"]) == []
    like = pods()["nearnorm"]["spec"]
    (container,), (other,) = pod["spec"]["containers"], like["containers"]
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "volumes"):
        assert pod["spec"][name] == like[name], name
    for name in ("securityContext", "envFrom", "volumeMounts"):
        assert container[name] == other[name], name
    tag = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["images"][0]["newTag"]
    assert container["image"] == f"nearnorm/service:{tag}"
    assert (container["stdin"], container["tty"]) == (True, True)
    assert container["args"] == words.split()


def test_what_pods_write_to_is_mounted() -> None:
    home = environment("service")["NEARNORM_HOME"]
    for name, container in containers().items():
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {home, "/tmp"} <= mounted, name  # noqa: S108 - a path in the container


def test_images_are_targets_of_the_dockerfile() -> None:
    images = {container["image"].removeprefix("nearnorm/") for container in containers().values()}
    assert images == {"service", "worker"}
    assert images <= set(stages())


def test_settings_are_known_and_the_store_is_mounted_where_they_say() -> None:
    (settings,) = of_kind("ConfigMap")
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(settings["data"]) <= known
    for name in ("nearnorm", "nearnorm-worker"):
        mounted = {mount["mountPath"] for mount in containers()[name]["volumeMounts"]}
        assert settings["data"]["NEARNORM_MODEL_STORE"] in mounted


def test_probes_ask_routes_that_exist_on_the_port_that_is_served() -> None:
    container = containers()["nearnorm"]
    assert container["ports"] == [{"name": "http", "containerPort": Settings.model_fields["port"].default}]
    paths = {kind: container[kind]["httpGet"]["path"] for kind in container if kind.endswith("Probe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}


def test_a_stopping_pod_is_given_the_time_it_may_take() -> None:
    (settings,) = of_kind("ConfigMap")
    pause = int(containers()["nearnorm"]["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = pods()["nearnorm"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > pause + int(settings["data"]["NEARNORM_STOP_SECONDS"])


def test_selectors_find_their_pods() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    for document in documents():
        spec = document.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        wanted = selector.get("matchLabels", selector)
        if wanted:
            assert any(wanted.items() <= own.items() for own in labels.values()), document["metadata"]["name"]


def test_one_replica_at_a_time_may_be_evicted_and_a_single_one_too() -> None:
    (budget,) = of_kind("PodDisruptionBudget")
    assert budget["spec"].keys() == {"maxUnavailable", "selector"}
    assert budget["spec"]["maxUnavailable"] == 1


def test_scaling_goes_by_what_every_cluster_tells() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    assert metric["type"] == "Resource"
    assert metric["resource"]["name"] in containers()["nearnorm"]["resources"]["requests"]


def test_the_migration_brings_an_empty_ledger_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARNORM_HOME", str(tmp_path))
    command = containers()["nearnorm-migration"]["command"]
    assert command[0] == "nearnorm"
    result = CliRunner().invoke(cli, command[1:])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "nearnorm.db").stat().st_size > 0

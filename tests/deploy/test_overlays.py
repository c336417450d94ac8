"""What kustomize builds of the base and each component, and what a component changes."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor
from starlette.routing import BaseRoute

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.deploy.dockerfile import ROOT
from tests.deploy.expressions import PROMETHEUS
from tests.deploy.restricted import violations
from tests.deploy.test_kubernetes import FOLDER, documents
from tests.deploy.test_prometheus import needs_prometheus

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
COMPONENTS = sorted(path.name for path in (FOLDER / "components").iterdir())
WITH_PODS = ("Deployment", "StatefulSet", "Job")
SHOWN = re.findall(r"```yaml\n(# kustomization\.yaml.*?)```", (ROOT / "docs/operations.md").read_text(), re.S)
"""A kustomization of one's own, as the page shows it."""


@cache
def built(kustomization: str) -> list[dict[str, Any]]:
    """What kustomize makes of one in a folder of its own beside `base`."""
    with TemporaryDirectory() as folder:
        shutil.copytree(FOLDER, Path(folder) / "kubernetes")
        mine = Path(folder) / "kubernetes/mine"
        mine.mkdir()
        (mine / "kustomization.yaml").write_text(kustomization)
        done = subprocess.run(["kubectl", "kustomize", mine], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def with_components(*names: str) -> list[dict[str, Any]]:
    made = {
        "namespace": "nearnorm",
        "resources": ["../base"],
        "components": [f"../components/{n}" for n in names],
    }
    return built(yaml.safe_dump(made))


def one(kind: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    (document,) = [one for one in found if (one["kind"], one["metadata"]["name"]) == (kind, "nearnorm")]
    return document


BUILDS: dict[str, list[str]] = {"base": [], **{name: [name] for name in COMPONENTS}}


@pytest.mark.parametrize("names", BUILDS.values(), ids=BUILDS)
def test_what_is_built_is_what_the_cluster_takes(names: list[str]) -> None:
    for document in with_components(*names):
        if document["kind"] == "ServiceMonitor":
            kept = ServiceMonitor.model_validate(document)
            assert kept.model_dump(mode="json", by_alias=True, exclude_unset=True) == document
        else:
            kubernetes_validate.validate(document, "1.34", strict=True)
        if document["kind"] in WITH_PODS:
            pod = document["spec"]["template"]["spec"]
            assert violations(pod) == []
            assert re.search(r":\d", pod["containers"][0]["image"])


@pytest.mark.parametrize("names", BUILDS.values(), ids=BUILDS)
def test_replicas_are_either_fixed_or_an_autoscalers(names: list[str]) -> None:
    found = with_components(*names)
    scaled = [
        one["spec"]["scaleTargetRef"]["name"] for one in found if one["kind"] == "HorizontalPodAutoscaler"
    ]
    fixed = [
        one["metadata"]["name"]
        for one in found
        if one["kind"] in ("Deployment", "StatefulSet") and "replicas" in one["spec"]
    ]
    streams = ["nearnorm-stream"] if "stream" in names else []
    assert sorted(scaled + fixed) == ["nearnorm", *streams, "nearnorm-worker"]


def test_the_base_is_built_whole_and_the_gpu_overlay_is_it_with_its_component() -> None:
    assert len(with_components()) == len(documents())
    kustomization = (FOLDER / "gpu/kustomization.yaml").read_text()
    assert built(kustomization) == with_components("gpu")


def test_on_gpus_every_pod_has_one_and_a_rollout_waits_for_none_that_is_spare() -> None:
    spec = one("Deployment", with_components("gpu"))["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["image"].startswith("nearnorm/service-gpu:")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_a_single_replica_has_no_autoscaler_and_may_be_evicted() -> None:
    found = with_components("single")
    assert one("Deployment", found)["spec"]["replicas"] == 1
    assert one("PodDisruptionBudget", found)["spec"]["maxUnavailable"] == 1


def test_rows_that_wait_are_one_more_reason_to_scale_well_before_requests_are_refused() -> None:
    cpu, rows = one("HorizontalPodAutoscaler", with_components("queue-rows"))["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    assert rows["pods"]["metric"]["name"] == "nearnorm_queue_rows"
    limit = Settings.model_fields["queue_rows"].default
    assert 0 < int(rows["pods"]["target"]["averageValue"]) < limit / 2


@needs_prometheus
def test_the_adapters_query_tells_the_most_rows_of_a_minute_by_pod(tmp_path: Path) -> None:
    (rule,) = yaml.safe_load((FOLDER / "components/queue-rows/prometheus-adapter.yaml").read_text())["rules"]
    asked = {"Series": "nearnorm_queue_rows", "LabelMatchers": 'namespace="nearnorm"', "GroupBy": "pod"}
    query = re.sub(r"<<\.(\w+)>>", lambda found: asked[found[1]], rule["metricsQuery"])
    series = [
        (f'nearnorm_queue_rows{{namespace="{namespace}",pod="{pod}",model="{model}"}}', values)
        for namespace, pod, model, values in (
            ("nearnorm", "a", "default", "0 900 0 0"),
            ("nearnorm", "a", "other", "0 100 100 100"),
            ("nearnorm", "b", "default", "5 5 5 5"),
            ("elsewhere", "c", "default", "7 7 7 7"),
        )
    ]
    told = [{"labels": '{pod="a"}', "value": 1000}, {"labels": '{pod="b"}', "value": 5}]
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "promql_expr_test": [{"expr": query, "eval_time": "45s", "exp_samples": told}],
    }
    (tmp_path / "adapter_test.yml").write_text(
        yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", "adapter_test.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_monitor_finds_the_service_under_the_job_that_the_rules_ask_for() -> None:
    found = with_components("service-monitor")
    service, monitor = one("Service", found), one("ServiceMonitor", found)["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert f'job="{service["metadata"]["name"]}"' in (PROMETHEUS / "rules.yml").read_text()
    assert "annotations" not in one("Deployment", found)["spec"]["template"]["metadata"]


def paths(routes: list[BaseRoute]) -> set[str]:
    """The first part of every route's path."""
    found: set[str] = set()
    for route in routes:
        included = getattr(route, "original_router", None)
        found |= paths(included.routes) if included else {"/" + str(getattr(route, "path", "")).split("/")[1]}
    return found


def test_the_ingress_publishes_all_but_what_asks_for_no_key(tmp_path: Path) -> None:
    (rule,) = one("Ingress", with_components("ingress"))["spec"]["rules"]
    published = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
    beside_the_router = {"/score", "/v2"}
    served = paths(create_app(Settings(home=tmp_path)).routes) | beside_the_router
    inside = {"/metrics", "/healthz", "/readyz"}
    assert inside <= served
    assert published == {(path, "Exact" if path == "/" else "Prefix") for path in served - inside}


def test_the_kustomization_that_the_page_shows_is_built() -> None:
    (shown,) = SHOWN
    kinds = {one["kind"] for one in built(shown)}
    assert {"Ingress", "ServiceMonitor", "HorizontalPodAutoscaler"} <= kinds

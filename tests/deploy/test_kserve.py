"""The manifest for KServe: by KServe's models and Kubernetes' schema, and what is started with it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import httpx
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from moto.server import ThreadedMotoServer

from nearnorm.models.store.open import open_store
from nearnorm.service.settings import PREFIX, Settings
from tests.deploy.dockerfile import ROOT
from tests.deploy.dockerfile import environment as of_image
from tests.deploy.restricted import violations
from tests.deploy.test_kubernetes import containers, pods
from tests.environments import python_of
from tests.service.asking import STRANGE
from tests.service.bundles import make_bundle
from tests.service.interfaces.test_open_inference import tensors
from tests.service.ledger.servers import running_postgres
from tests.service.process.test_server import command, environment, process

MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "deploy/kserve/inference_service.yaml").read_text())
PREDICTOR: dict[str, Any] = MANIFEST["spec"]["predictor"]
(CONTAINER,) = PREDICTOR["containers"]
OF_KSERVE = ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")
POD = {name: value for name, value in PREDICTOR.items() if name not in OF_KSERVE}
GIVEN = {one["name"]: one["value"] for one in CONTAINER["env"]}
PROBES = [CONTAINER[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]


WRONG: list[dict[str, Any]] = [{"maxReplica": 3}, {"minReplicas": "two"}, {"scaleMetrics": "cpu"}]


def changed(wrong: dict[str, Any]) -> dict[str, Any]:
    return MANIFEST | {"spec": {"predictor": PREDICTOR | wrong}}


@pytest.fixture(scope="module")
def kept() -> list[Any]:
    """What KServe's models keep of the manifest, and of it with each mistake."""
    script = Path(__file__).with_name("in_kserve.py")
    sent = json.dumps([MANIFEST, *map(changed, WRONG)])
    command = [python_of("kserve"), script]
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_kserves_models_take_the_manifest_whole(kept: list[Any]) -> None:
    assert kept[0] == MANIFEST


def test_kserves_models_do_not_take_what_they_do_not_know(kept: list[Any]) -> None:
    assert len(kept) == 1 + len(WRONG)
    for wrong, found in zip(WRONG, kept[1:], strict=True):
        assert found != changed(wrong), wrong


def test_its_pod_obeys_the_schema() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nearnorm"}, "spec": POD}
    kubernetes_validate.validate(pod, "1.34", strict=True)


def test_its_pod_is_as_guarded_and_as_patient_as_the_deployments() -> None:
    assert violations(POD) == []
    spec, container = pods()["nearnorm"]["spec"], containers()["nearnorm"]
    names = ("automountServiceAccountToken", "enableServiceLinks", "securityContext")
    for name in (*names, "terminationGracePeriodSeconds"):
        assert PREDICTOR[name] == spec[name], name
    for name in ("securityContext", "resources", "lifecycle"):
        assert CONTAINER[name] == container[name], name
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        own, other = dict(CONTAINER[name]), dict(container[name])
        assert own.pop("httpGet")["port"] == CONTAINER["ports"][0]["containerPort"]
        assert other.pop("httpGet")
        assert own == other, name


def test_its_container_is_what_kserve_looks_for() -> None:
    assert CONTAINER["name"] == "kserve-container"
    assert GIVEN["PROTOCOL"] == "v2"
    assert CONTAINER["ports"][0]["containerPort"] == Settings.model_fields["port"].default
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(GIVEN) - {"PROTOCOL"} <= known


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the container sees: of the image, the manifest and the Secrets. The bucket has a model."""
    folder = tmp_path_factory.mktemp("kserve")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",  # moto's; no setting of ours
    }
    with running_postgres() as uri, pytest.MonkeyPatch.context() as patch:
        for name, value in store.items():
            patch.setenv(name, value)
        bucket = GIVEN["NEARNORM_MODEL_STORE"].removeprefix("s3://").partition("/")[0]
        boto3.resource("s3", endpoint_url=store["AWS_ENDPOINT"], region_name="us-east-1").Bucket(
            bucket
        ).create()
        models = open_store(GIVEN["NEARNORM_MODEL_STORE"], folder / "copies")
        models.activate(models.publish(make_bundle(folder / "bundle").path), by="test")
        yield of_image("service") | GIVEN | store | {"NEARNORM_DATABASE_URL": uri}
    server.stop()


def test_the_service_starts_with_the_manifests_environment_and_answers_kserves_probes(
    given: dict[str, str], tmp_path: Path
) -> None:
    home = {"NEARNORM_HOME": str(tmp_path)}  # a folder of the image's
    made = subprocess.run(
        command("keys", "create", "gateway", "--role", "score"),
        env=environment(tmp_path, **given | home),
        capture_output=True,
        text=True,
        check=True,
    )
    (secret,) = [word for word in made.stdout.split() if word.startswith("nn_")]
    with process(tmp_path, **given | home) as (_, url), httpx.Client(base_url=url, timeout=30) as client:
        for probe in PROBES:
            assert client.get(probe["path"]).status_code == 200
        body = {"inputs": tensors(STRANGE)}
        path = "/v2/models/default/infer"
        assert client.post(path, json=body).status_code == 401
        answer = client.post(path, json=body, headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code == 200, answer.text
        assert [one["name"] for one in answer.json()["outputs"]][:2] == ["score", "percentile"]
    assert not (tmp_path / "nearnorm.db").exists()  # the ledger is the Secret's

"""What each manifest starts, started as processes with the environment that it gives."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from nearnorm.models.store.folder import ModelStore
from tests.deploy.dockerfile import environment as of_image
from tests.deploy.test_compose import services
from tests.deploy.test_kubernetes import FOLDER, ONCE, containers, of_kind
from tests.service.bundles import make_bundle
from tests.service.interfaces.kafka.brokers import make_topics, tansu
from tests.service.ledger.servers import running_postgres
from tests.service.process.test_server import command, environment, process
from tests.service.waiting import until

SETTINGS: dict[str, str] = of_kind("ConfigMap")[0]["data"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as uri:
        yield uri


@pytest.fixture
def ledger(postgres: str, request: pytest.FixtureRequest) -> str:
    """An empty database of its own."""
    name = request.node.name[:40]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What is mounted where the home is."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def run(words: list[str], home: Path, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    assert words[0] == "nearnorm"
    return subprocess.run(
        command(*words[1:]), env=environment(home, **given), capture_output=True, text=True, timeout=120
    )


def asked(container: dict[str, Any], client: httpx.Client) -> list[int]:
    kinds = ("startupProbe", "readinessProbe", "livenessProbe")
    return [client.get(container[kind]["httpGet"]["path"]).status_code for kind in kinds]


def works(home: Path, given: dict[str, str]) -> None:
    """A worker with what is given greets in the ledger."""
    with (home / "worker.log").open("w") as log:
        worker = subprocess.Popen(command("worker"), env=environment(home, **given), stderr=log)
    try:
        with psycopg.connect(given["NEARNORM_DATABASE_URL"], autocommit=True) as connection:
            while not connection.execute("SELECT worker FROM workers").fetchone():
                assert worker.poll() is None, (home / "worker.log").read_text()
                time.sleep(0.05)
    finally:
        worker.terminate()
        worker.wait()


def test_kubernetes_pods_start_with_their_environment(ledger: str, home: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "mounted")
    store.activate(store.publish(make_bundle(tmp_path / "bundle").path), by="test")
    mounted = {"NEARNORM_HOME": str(home), "NEARNORM_MODEL_STORE": str(tmp_path / "mounted")}
    given = of_image("service") | SETTINGS | mounted | {"NEARNORM_DATABASE_URL": ledger}
    assert SETTINGS.keys() - given.keys() == set()
    assert run(containers()["nearnorm-migration"]["command"], home, given).returncode == 0
    keys, models = (words.split() for words in ONCE.values())
    secret = next(word for word in run(keys, home, given).stdout.split() if word.startswith("nn_"))
    assert "activated" in run(models, home, given).stdout
    with process(home, **given) as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        assert asked(containers()["nearnorm"], client) == [200, 200, 200]
        body = {"records": [{"amount": 61.5}]}
        assert client.post("/score", json=body).status_code == 401
        client.headers["authorization"] = f"Bearer {secret}"
        assert client.post("/score", json=body).status_code == 200
    works(home, of_image("worker") | given)


def test_compose_starts_service_and_worker_with_their_environment(ledger: str, home: Path) -> None:
    def given(name: str) -> dict[str, str]:
        container = services()[name]
        own: dict[str, str] = of_image(container["build"]["target"]) | container["environment"]
        return own | {"NEARNORM_HOME": str(home), "NEARNORM_DATABASE_URL": ledger}

    with (
        process(home, **given("service"), NEARNORM_WORKER="off") as (_, url),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        assert client.get("/readyz").status_code == 200
        assert client.post("/score", json={"records": [{"f1": 45, "f4": 1}]}).status_code == 200
    works(home, given("worker"))


def test_a_streamers_pod_streams_with_its_environment_and_answers_its_probes(
    ledger: str, home: Path, tmp_path: Path
) -> None:
    manifest = FOLDER / "components/stream/stream.yaml"
    pod = next(yaml.safe_load_all(manifest.read_text()))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    store = ModelStore(tmp_path / "mounted")
    store.activate(store.publish(make_bundle(tmp_path / "bundle").path), by="test")
    mounted = {"NEARNORM_HOME": str(home), "NEARNORM_MODEL_STORE": str(tmp_path / "mounted")}
    given = of_image("service") | SETTINGS | mounted | {"NEARNORM_DATABASE_URL": ledger}
    with tansu() as brokers, (home / "stream.log").open("w") as log:
        make_topics(brokers, "records", "scores")
        words = [word.replace("kafka:9092", brokers).replace("$(POD)", "pod-0") for word in container["args"]]
        streamer = subprocess.Popen(
            command(*container["command"][1:], *words, "--port=0"),
            env=environment(home, **given),
            stderr=log,
        )
        try:
            while not (found := re.search(r"http://[\d.]+:\d+", (home / "stream.log").read_text())):
                assert streamer.poll() is None, (home / "stream.log").read_text()
                time.sleep(0.05)
            with httpx.Client(base_url=found[0].replace("0.0.0.0", "127.0.0.1"), timeout=60) as client:  # noqa: S104
                until(lambda: is_up(client) and asked(container, client) == [200, 200, 200], 60)
        finally:
            streamer.terminate()
            streamer.wait()


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False

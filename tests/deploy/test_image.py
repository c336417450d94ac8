"""The image cannot be built without a daemon: its install commands are run, the rest is read."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import venv
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from tests.deploy.dockerfile import ROOT, command, environment, install_command, last, stages
from tests.ports import free_port

TARGETS = ["service", "service-gpu", "worker"]
CPU_SECONDS = 300
"""What a command of the image may take, eight times what it does. Time is what a busy machine stretches."""
patient = pytest.mark.timeout(1_800)
"""The first of them builds the image: half a minute of CPU, ten times as long where twenty others work."""


def extras(target: str) -> set[str]:
    (names,) = re.findall(r"\[([a-z0-9,]+)\]", install_command(target))
    return set(names.split(","))


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment made by the Dockerfile's own commands: the `service` target without its base."""
    folder = tmp_path_factory.mktemp("image")
    source, wheels, home = folder / "source", folder / "wheels", folder / "venv"
    source.mkdir()
    for name in ("pyproject.toml", "constraints.txt", "README.md", "models", "service", "training", "src"):
        path = ROOT / name
        shutil.copytree(path, source / name, symlinks=True) if path.is_dir() else shutil.copy(
            path, source / name
        )
    (build,) = [line for line in stages()["wheel"].all("RUN") if "pip wheel" in line]
    shell("python -m venv build-venv", folder, Path(sys.executable).parent)
    shell(build.replace("/wheels", str(wheels)), source, folder / "build-venv/bin")
    venv.create(home, with_pip=True)
    shutil.copy(ROOT / "deploy/service.lock", wheels)
    shell(install_command("service").replace("/wheels", str(wheels)), folder, home / "bin")
    return home


def shell(line: str, cwd: Path, path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -t {CPU_SECONDS}; {line}"],
        cwd=cwd,
        env={
            **os.environ,
            "PATH": f"{path}:/usr/bin:/bin",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_hadolint_has_no_complaint() -> None:
    run(Path(sys.executable).with_name("hadolint"), "Dockerfile", cwd=ROOT)


def test_each_target_installs_exactly_one_onnxruntime() -> None:
    assert {target: extras(target) & {"cpu", "gpu"} for target in TARGETS} == {
        "service": {"cpu"},
        "service-gpu": {"gpu"},
        "worker": {"cpu"},
    }


def test_the_lock_holds_what_the_project_asks_of_the_service_image_each_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + [
        line for extra in extras("service") for line in project["optional-dependencies"][extra]
    ]
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "deploy/service.lock").read_text())
    locked = {block.partition("==")[0]: block.partition("==")[2].split()[0] for block in blocks}
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(locked[requirement.name]), requirement.name
    assert all("--hash=sha256:" in block for block in blocks)


def test_only_the_worker_installs_training_and_with_the_pinned_torch() -> None:
    assert [target for target in TARGETS if "training" in extras(target)] == ["worker"]
    assert install_command("worker").endswith("-c /wheels/constraints.txt")


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_as_a_numbered_user_that_owns_its_home(target: str) -> None:
    user = last(target, "USER")
    assert user is not None
    assert re.fullmatch(r"(\d+):\1", user)  # Kubernetes' runAsNonRoot needs a number
    assert user != "0:0"
    home = environment(target)["NEARNORM_HOME"]
    (useradd,) = stages()["runtime"].all("RUN")
    assert f"--uid {user.split(':')[0]} " in useradd
    assert f"--home-dir {home} --create-home" in useradd
    assert last(target, "VOLUME") == home


@pytest.mark.parametrize("target", ["service", "service-gpu"])
def test_a_service_is_asked_for_its_health(target: str) -> None:
    assert "/healthz" in (last(target, "HEALTHCHECK") or "")
    assert command(target) == ["nearnorm", "serve"]


def test_what_the_wheel_is_built_from_reaches_the_builder() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert kept[1] == "*"
    for name in ("pyproject.toml", "README.md", "constraints.txt", "models", "service", "training", "src"):
        assert f"!{name}" in kept


def test_no_registry_host_is_named() -> None:
    assert not re.search(r"https?://(?!127\.0\.0\.1)", (ROOT / "Dockerfile").read_text())


@patient
def test_the_service_image_imports_no_torch(image: Path, tmp_path: Path) -> None:
    program = (
        "import sys, nearnorm.service.app; "
        "print(sorted({'torch', 'nearnorm.training', 'onnx', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    assert run(image / "bin/python", "-c", program, cwd=tmp_path).strip() == "[]"
    packages = run(image / "bin/pip", "list", "--format=freeze", cwd=tmp_path)
    assert not re.search(r"^(torch|onnx|scikit-learn|matplotlib)==", packages, flags=re.MULTILINE)


@patient
def test_the_service_image_serves_the_starter_model_and_writes_only_to_its_home(
    image: Path, tmp_path: Path
) -> None:
    port = free_port()
    home = tmp_path / "home"
    settings = {"NEARNORM_HOME": str(home), "NEARNORM_PORT": str(port)}
    before = snapshot(image)
    process = subprocess.Popen(
        command("service"),
        executable=image / "bin/nearnorm",
        cwd=tmp_path,
        env={"PATH": f"{image}/bin:/usr/bin:/bin", "TMPDIR": str(tmp_path), **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + 300
            while not ready(client):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            answer = client.post("/score", json={"records": [{"f1": 45, "f4": 1}]}).raise_for_status().json()
            assert 0 <= answer["results"][0]["score"] <= 1
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode in (0, -signal.SIGTERM)  # uvicorn stops gracefully, then passes the signal on
    assert snapshot(image) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def snapshot(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}

"""`nearnorm serve` as a process: it starts, says what keeps it from starting, and stops gracefully."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError
from nearnorm.service.settings import Settings, load_settings
from tests.service.running import home_with

RECORD = {"amount": 61.5, "channel": "web"}


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("nearnorm")), *arguments]


def environment(home: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NEARNORM_")}
    return clean | {"NEARNORM_HOME": str(home)} | more


@contextmanager
def process(home: Path, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running service and its address."""
    log = home / "stderr"
    with log.open("wb") as stderr:
        started = subprocess.Popen(
            command("serve", "--port", "0"), env=environment(home, **more), stderr=stderr
        )
    try:
        yield started, _address(started, log)
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


def _address(started: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 120
    while started.poll() is None and time.monotonic() < deadline:
        found = re.search(r"http://[\d.]+:\d+", log.read_text())
        if found:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(found[0] + "/healthz", timeout=60)
                return found[0]
        time.sleep(0.02)
    raise AssertionError(log.read_text())


@pytest.fixture
def home(tmp_path: Path, bundle: Bundle) -> Path:
    return home_with(tmp_path / "home", bundle)


def test_accepted_requests_are_answered_before_it_stops(home: Path) -> None:
    body = json.dumps({"records": [RECORD] * 10_000}).encode()
    with process(home) as (service, url):
        host, port = url.removeprefix("http://").split(":")
        connections = [socket.create_connection((host, int(port))) for _ in range(2)]
        head = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        for connection in connections:
            connection.sendall(request)
        time.sleep(0.05)
        service.send_signal(signal.SIGTERM)
        for connection in connections:
            connection.settimeout(30)
            answer = b""
            while chunk := connection.recv(1 << 20):
                answer += chunk
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["results"]) == 10_000
            connection.close()
        service.wait(30)


NEVER_USED = (
    *("alembic", "numpy.ma", "sqlalchemy.dialects.postgresql", "pyarrow"),
    *("torch", "nearnorm.training", "onnx", "sklearn"),
)


def test_a_serving_process_loads_neither_training_nor_what_libraries_load_for_others(
    home: Path,
) -> None:
    with process(home, PYTHONPROFILEIMPORTTIME="1", NEARNORM_WORKER="off") as (service, address):
        assert httpx.get(address + "/readyz", timeout=60).status_code == 200
        assert httpx.get(address + "/openapi.json", timeout=60).status_code == 200
        service.terminate()
        service.wait(30)
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", (home / "stderr").read_text(), re.MULTILINE))
    assert "onnxruntime" in loaded
    assert loaded.intersection(NEVER_USED) == set()


PROBE = """
import gc, uvicorn
from nearnorm.service.process.server import Server
from nearnorm.service.serving.memory.settled import Settled

class Probe(Server):
    async def main_loop(self):
        print(gc.isenabled(), gc.get_freeze_count() > 0)

Probe(uvicorn.Config(lambda: None, port=0, lifespan="off"), Settled()).run()
"""


def test_garbage_is_collected_once_it_serves_and_what_the_start_left_is_not_walked() -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.split() == ["True", "True"]


def refused(home: Path, *arguments: str, **more: str) -> str:
    """The one line that a user's mistake is answered with."""
    run = subprocess.run(
        command(*arguments), env=environment(home, **more), capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2, run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("nearnorm: ")
    assert "Traceback" not in run.stderr
    return last


def test_an_unknown_setting_is_refused_by_name(home: Path) -> None:
    assert "NEARNORM_PROT" in refused(home, "serve", NEARNORM_PROT="80")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "web"), ("PORT", "70000"), ("DEVICE", "tpu"), ("MAX_ROWS", "10"), ("QUEUE_ROWS", "1000")],
)
def test_an_unfit_setting_is_refused_by_name(home: Path, name: str, value: str) -> None:
    line = refused(home, "serve", **{f"NEARNORM_{name}": value})
    assert f"NEARNORM_{name}" in line or name.lower() in line


TIMES = [name for name, field in Settings.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("name", TIMES)
def test_a_number_without_an_end_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"NEARNORM_{name.upper()}", "inf")
    with pytest.raises(ConfigError, match=f"NEARNORM_{name.upper()}"):
        load_settings()


LINKS = {  # what a kubelet sets for Services named nearnorm and nearnorm-cards on port 80
    "NEARNORM_SERVICE_HOST": "10.96.0.7",
    "NEARNORM_SERVICE_PORT": "80",
    "NEARNORM_SERVICE_PORT_HTTP": "80",
    "NEARNORM_PORT": "tcp://10.96.0.7:80",
    "NEARNORM_PORT_80_TCP": "tcp://10.96.0.7:80",
    "NEARNORM_PORT_80_TCP_PROTO": "tcp",
    "NEARNORM_PORT_80_TCP_PORT": "80",
    "NEARNORM_PORT_80_TCP_ADDR": "10.96.0.7",
    "NEARNORM_CARDS_SERVICE_HOST": "10.96.0.8",
    "NEARNORM_CARDS_SERVICE_PORT": "80",
    "NEARNORM_CARDS_PORT": "tcp://10.96.0.8:80",
    "NEARNORM_CARDS_PORT_80_TCP": "tcp://10.96.0.8:80",
    "NEARNORM_CARDS_PORT_80_TCP_PROTO": "tcp",
    "NEARNORM_CARDS_PORT_80_TCP_PORT": "80",
    "NEARNORM_CARDS_PORT_80_TCP_ADDR": "10.96.0.8",
}


def test_service_links_of_kubernetes_are_no_settings_and_the_mend_is_told(home: Path) -> None:
    listed = subprocess.run(
        command("models", "list"), env=environment(home, **LINKS), capture_output=True, text=True, check=True
    )
    assert listed.stdout
    (line,) = listed.stderr.splitlines()
    assert line.startswith("nearnorm: NEARNORM_CARDS_PORT and 14 more variables are service links")
    assert "enableServiceLinks: false" in line


def test_settings_are_read_beside_service_links_and_a_mistake_among_them_is_still_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)
    assert load_settings().port == 8000
    assert load_settings({"port": 9}).port == 9
    monkeypatch.setenv("NEARNORM_PORT", "8080")  # a pod's own variables go before the links
    assert load_settings().port == 8080
    monkeypatch.setenv("NEARNORM_SERVICE_HOTS", "1")
    with pytest.raises(ConfigError, match="NEARNORM_SERVICE_HOTS"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NEARNORM_RETRAIN_LABELS", "did you mean .*NEARNORM_RETRAIN_AFTER"),
        ("NEARNORM_audit_rates", r"did you mean NEARNORM_AUDIT_RATE.*\?"),
        ("NEARNORM_X", "known are .*NEARNORM_AUDIT_RATE, .*NEARNORM_WORKERS"),
    ],
)
def test_a_misspelt_setting_is_told_with_those_that_are_like_it(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=f"unknown environment variable {name}: {told}"):
        load_settings()


def test_cuda_that_is_not_there_is_told_in_one_line(home: Path) -> None:
    assert "NEARNORM_DEVICE=cuda" in refused(home, "serve", "--port", "0", NEARNORM_DEVICE="cuda")


def test_a_port_that_is_taken_is_told_in_one_line(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused(home, "serve", "--port", port)


def nearnorm(home: Path, *arguments: str) -> list[str]:
    run = subprocess.run(
        command(*arguments), env=environment(home), capture_output=True, text=True, timeout=60, check=True
    )
    return run.stdout.splitlines()


def listed(home: Path) -> list[str]:
    """Versions, and the models that they serve; what is known of each is below it."""
    return [line for line in nearnorm(home, "models", "list") if not line.startswith(" ")]


def test_models_are_listed_imported_activated_and_rolled_back(
    home: Path, bundle: Bundle, other_bundle: Bundle
) -> None:
    assert listed(home) == [f"{bundle.version} default"]
    assert nearnorm(home, "models", "import", str(other_bundle.path))[-1] == other_bundle.version
    nearnorm(home, "models", "activate", other_bundle.version[:12])
    assert set(listed(home)) == {bundle.version, f"{other_bundle.version} default"}
    back, policy = nearnorm(home, "models", "rollback")
    assert bundle.version in back
    assert policy == 'the default policy is in force: "1%"'
    assert "nothing to roll back" in refused(home, "models", "rollback")


def test_what_cannot_be_imported_or_activated_is_told_in_one_line(home: Path, tmp_path: Path) -> None:
    assert "not a bundle" in refused(home, "models", "import", str(tmp_path))
    assert "no version begins with 'abc'" in refused(home, "models", "activate", "abc")


def test_a_file_is_scored_from_the_command_line(home: Path, bundle: Bundle, tmp_path: Path) -> None:
    data, out = tmp_path / "rows.csv", tmp_path / "scores.csv"
    data.write_text("amount,channel,country\n60,web,DE\n,web,FR\nnan,shop,\n")
    nearnorm(home, "score", str(bundle.path), str(data), "--out", str(out))
    lines = out.read_text().splitlines()
    assert lines[0].replace('"', "") == (
        "score,percentile,anomaly,prototype,distance,reconstruction_error,novel,novel_distance,error"
    )
    assert lines[1].startswith("0.")
    assert "amount" in lines[2]
    assert len(lines) == 4
    assert "does not exist" in refused(home, "score", str(bundle.path), "no.csv", "--out", str(out))
    assert "not a bundle" in refused(home, "score", str(tmp_path), str(data), "--out", str(out))


def test_help_lists_every_command_without_importing_training(home: Path) -> None:
    code = (
        "import sys; sys.argv = ['nearnorm', '--help']; import nearnorm.service.cli.main\n"
        "try: nearnorm.service.cli.main.main()\n"
        "finally: print('torch' in sys.modules, 'nearnorm.training' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True, timeout=60
    ).stdout
    for name in ("serve", "score", "models", "train"):
        assert name in shown
    assert shown.strip().endswith("False False")


def test_a_command_that_needs_training_says_what_to_install(home: Path) -> None:
    code = (
        "import sys; sys.modules['nearnorm.training.commands'] = None; "
        "sys.modules['nearnorm.training'] = None;"
        "sys.argv = ['nearnorm', 'train', 'x.csv', '--out', 'y']; "
        "from nearnorm.service.cli.main import main; main()"
    )
    run: Any = subprocess.run(
        [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "nearnorm[cpu,training]" in run.stderr


FEW_FILES = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
    "sys.argv = ['nearnorm', 'serve', '--port', '0']; "
    "from nearnorm.__main__ import main; main()"
)


def test_health_is_answered_where_few_files_are_allowed(home: Path) -> None:
    log = home / "stderr"
    with log.open("wb") as stderr:
        program = [sys.executable, "-c", FEW_FILES]
        service = subprocess.Popen(program, env=environment(home, NEARNORM_WORKER="off"), stderr=stderr)
    with contextlib.ExitStack() as stack:
        stack.callback(service.wait)
        stack.callback(service.kill)
        url = _address(service, log)
        host, port = url.removeprefix("http://").split(":")
        for sent in (b"", b"POST /score HTTP/1.1\r\nX: "):
            for _ in range(80):
                half = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
                with contextlib.suppress(ConnectionError):
                    half.sendall(sent)
            for _ in range(3):
                assert httpx.get(url + "/healthz", timeout=60).status_code == 200
        assert httpx.post(url + "/score", json={"records": [RECORD]}, timeout=60).status_code == 200
        label = {"labels": [{"record": RECORD, "label": "anomaly"}]}
        assert httpx.post(url + "/feedback", json=label, timeout=60).status_code == 201

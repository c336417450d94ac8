"""Ids of requests, their log lines, and their spans: by a real process and a real OTLP receiver."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.http.middleware.request_log import request_ids, trace_of
from tests.ports import free_port
from tests.service.running import home_with
from tests.service.scoring.test_endpoint import RECORD

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (TRACEPARENT, TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (TRACEPARENT.upper(), None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(header: str, trace: str | None) -> None:
    assert trace_of(header) == trace


def test_a_request_has_the_callers_id_or_a_new_one() -> None:
    assert request_ids([(b"x-request-id", b"r-1"), (b"traceparent", TRACEPARENT.encode())]) == {
        "request_id": "r-1",
        "trace_id": TRACE,
    }
    first, second = request_ids([(b"x-request-id", b"a b\n")]), request_ids([])
    assert len(first["request_id"]) == len(second["request_id"]) == 26
    assert first != second


@contextmanager
def process(home: Path, **settings: str) -> Iterator[tuple[httpx.Client, list[dict[str, Any]]]]:
    """`nearnorm serve` and, once it has stopped, its log."""
    port = free_port()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NEARNORM_", "OTEL_"))}
    kept |= {"NEARNORM_HOME": str(home), "NEARNORM_PORT": str(port), **settings}
    command = [sys.executable, "-P", "-m", "nearnorm", "serve"]
    serving = subprocess.Popen(command, env=kept, stderr=subprocess.PIPE, text=True)
    log: list[dict[str, Any]] = []
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 30
            while True:
                try:
                    client.get("/readyz").raise_for_status()
                    break
                except httpx.HTTPError:
                    assert serving.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield client, log
    finally:
        serving.terminate()
        _, lines = serving.communicate(timeout=30)
        log += [json.loads(line) for line in lines.splitlines() if line.startswith("{")]


def test_a_logged_request_has_ids_and_no_values(tmp_path: Path, bundle: Bundle) -> None:
    home = home_with(tmp_path, bundle)
    with process(home, NEARNORM_LOG_REQUESTS="true", NEARNORM_AUDIT_RATE="1") as (client, log):
        headers = {"X-Request-ID": "r-1", "traceparent": TRACEPARENT}
        secret = RECORD | {"amount": 987654.5}
        answer = client.post("/score", json={"records": [secret]}, headers=headers).json()
        client.get("/models", headers={"X-Request-ID": "r-2"})
    told = {line["request_id"]: line for line in log if line["event"] == "request"}
    assert told["r-1"] | {"ms": 0, "timestamp": ""} == {
        "event": "request",
        "level": "info",
        "timestamp": "",
        "method": "POST",
        "path": "/score",
        "status": 200,
        "ms": 0,
        "request_id": "r-1",
        "trace_id": TRACE,
        "model_version": bundle.version,
        "event_ids": [answer["results"][0]["event_id"]],
    }
    assert told["r-2"]["path"] == "/models"
    assert "987654" not in json.dumps(log)


class Receiver(http.server.BaseHTTPRequestHandler):
    """What an OTLP collector does, as far as it can be seen from outside."""

    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_a_span_joins_the_callers_trace(tmp_path: Path, bundle: Bundle) -> None:
    Receiver.received = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        settings = {
            "NEARNORM_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        with process(home_with(tmp_path, bundle), **settings) as (client, _):
            client.post("/score", json={"records": [RECORD]}, headers={"traceparent": TRACEPARENT})
            client.get(f"/models/{bundle.version}")
            client.get("/verdict?token=a-link-s-token")
            assert len(client.get("/models?limit=1").json()["models"]) == 1  # a route still has its query
            assert client.get("/models?limt=1").status_code == 422
        collector.shutdown()
    paths, bodies = {path for path, _ in Receiver.received}, b"".join(b for _, b in Receiver.received)
    assert paths == {"/v1/traces"}
    assert bytes.fromhex(TRACE) in bodies
    assert bytes.fromhex("00f067aa0ba902b7") in bodies  # its parent
    assert b"POST /score" in bodies
    assert b"GET /models/{version}" in bodies
    assert b"GET /verdict" in bodies
    assert b"a-link-s-token" not in bodies
    assert b"nearnorm" in bodies


def test_a_traceback_in_the_log_tells_no_values() -> None:
    program = (
        "from nearnorm.service.logs import configure_logs, log\n"
        "configure_logs()\n"
        "def fail(record):\n"
        "    raise RuntimeError('the model failed')\n"
        "try:\n"
        "    fail({'amount': 987654.5})\n"
        "except RuntimeError as error:\n"
        "    log.error('batch failed', exc_info=error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = json.loads(done.stderr)
    assert told["exception"][0]["exc_value"] == "the model failed"
    assert "987654" not in done.stderr

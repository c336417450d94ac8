"""`nearnorm serve --workers 2`: one service to callers and operators, whichever process answers them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.quota import Quota
from tests.service.process.test_server import RECORD, environment, process, refused
from tests.service.running import home_with
from tests.service.waiting import until

ROWS = "nearnorm_rows_total default"
CONNECTIONS = 16
"""So many connections do not all end at the same of two processes: one time in 30,000 they do."""


def children(pid: int, doing: str) -> list[int]:
    """Processes that `pid` started with this word in their command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if parent == pid and doing in words:
            found.append(int(folder.name))
    return found


@contextmanager
def several(url: str) -> Iterator[list[httpx.Client]]:
    """Clients with a kept connection each."""
    clients = [httpx.Client(base_url=url, timeout=60, verify=False) for _ in range(CONNECTIONS)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def samples(client: httpx.Client) -> dict[str, float]:
    """The samples of /metrics: name and label values."""
    text = client.get("/metrics").raise_for_status().text
    return {
        " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def both(url: str) -> bool:
    """Whether two processes serve: each has a queue of its own."""
    with httpx.Client(base_url=url, timeout=60, verify=False) as client:
        return samples(client)["nearnorm_queue_limit_rows default"] == 2 * 20_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[tuple[int, str, Path]]:
    """A service of two processes: its parent's id, its address, its home."""
    home = home_with(tmp_path_factory.mktemp("workers"), bundle)
    with process(home, NEARNORM_WORKERS="2", NEARNORM_ALLOW_ANONYMOUS="true") as (parent, url):
        until(lambda: both(url), 60)
        yield parent.pid, url, home


def scored(clients: list[httpx.Client]) -> None:
    for client in clients:
        client.post("/score", json={"records": [RECORD]}).raise_for_status()


def test_every_process_tells_the_sum_of_them_all(running: tuple[int, str, Path]) -> None:
    _, url, _ = running
    with several(url) as clients:
        before = samples(clients[0])
        scored(clients)
        for client in clients:
            now = samples(client)
            assert now[ROWS] - before.get(ROWS, 0) == CONNECTIONS
        assert now["nearnorm_activations_total activate default"] == 1


def test_every_process_follows_a_swap_a_policy_a_key_and_a_verdict_within_five_seconds(
    running: tuple[int, str, Path], other_bundle: Bundle
) -> None:
    _, url, home = running
    ModelStore(home / "models").publish(other_bundle.path)
    with several(url) as clients:

        def scores() -> list[dict[str, object]]:
            return [client.post("/score", json={"records": [RECORD]}).json() for client in clients]

        clients[0].post(f"/models/{other_bundle.version}/activate").raise_for_status()
        served = {"name": "default", "version": other_bundle.version}
        until(lambda: all(answer["model"] == served for answer in scores()), 5)
        label = {"record": RECORD, "label": "anomaly", "analyst": "a"}
        clients[0].post("/feedback", json={"labels": [label]}).raise_for_status()
        until(lambda: all("matched_feedback" in json.dumps(s) for s in scores()), 5)
        clients[0].put("/policy", json={"budget": "5%"}).raise_for_status()
        until(
            lambda: samples(clients[0])["nearnorm_alert_budget_ratio default"] == 0.05, 5
        )  # the mean of both
        ledger = Ledger.at(None, home)
        with ledger.write() as connection:
            secret, _ = keyring.create(connection, "caller", ["score"], "test")
        ledger.close()
        known = {"Authorization": f"Bearer {secret}"}
        until(lambda: all(client.get("/queue", headers=known).status_code == 403 for client in clients), 5)


def test_sums_do_not_fall_when_a_process_is_killed_and_started_again(running: tuple[int, str, Path]) -> None:
    parent, url, _ = running
    with several(url) as clients:
        scored(clients)
        before = samples(clients[0])
    victim = children(parent, "serve-beside")[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in children(parent, "serve-beside"), 10)
    until(lambda: both(url), 60)
    with several(url) as clients:
        assert samples(clients[0])[ROWS] == before[ROWS]
        scored(clients)
        until(lambda: samples(clients[0])[ROWS] == before[ROWS] + CONNECTIONS)
        again = samples(clients[0])
    assert not {name for name, value in before.items() if "_total" in name and again.get(name, 0) < value}


def test_a_callers_rate_counts_over_all_of_them(running: tuple[int, str, Path]) -> None:
    _, url, home = running
    with closing(Ledger.at(None, home)) as ledger, ledger.write() as connection:
        secret, _ = keyring.create(connection, "slow", ["score"], "test", Quota(rows_per_second=10))
    known = {"Authorization": f"Bearer {secret}"}
    with several(url) as clients:

        def answered(rows: int, by: list[httpx.Client]) -> list[httpx.Response]:
            body = {"records": [RECORD] * rows}
            return [client.post("/score", json=body, headers=known) for client in by]

        def wait_long() -> bool:
            """Longer than for what was sent to one process in this test beside the large request."""
            return all(int(one.headers.get("retry-after", 0)) > 60 for one in answered(1, clients))

        until(lambda: all(one.status_code != 401 for one in answered(1, clients)), 5)
        until(lambda: answered(5_000, clients[:1])[0].status_code == 200)
        until(wait_long)  # whichever process it was
        scored(clients)  # nobody else waits for it


def test_one_worker_trains_for_all_of_them(running: tuple[int, str, Path]) -> None:
    parent, _, _ = running
    until(lambda: len(children(parent, "worker")) == 1, 5)
    assert not [pid for one in children(parent, "serve-beside") for pid in children(one, "worker")]


def test_accepted_requests_of_every_process_are_answered_before_it_stops(
    tmp_path: Path, bundle: Bundle
) -> None:
    body = json.dumps({"records": [RECORD] * 3_000}).encode()  # one process may take them all
    head = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with process(home_with(tmp_path, bundle), NEARNORM_WORKERS="2", NEARNORM_WORKER="off") as (parent, url):
        until(lambda: both(url), 60)
        serving = children(parent.pid, "serve-beside")
        host, port = url.removeprefix("http://").split(":")
        with ExitStack() as open_:
            connections = [
                open_.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(6)
            ]
            for connection in connections:
                connection.sendall(request)
            time.sleep(0.1)
            parent.send_signal(signal.SIGTERM)
            for connection in connections:
                answer = b""
                while chunk := connection.recv(1 << 20):
                    answer += chunk
                assert answer.startswith(b"HTTP/1.1 200 ")
        assert parent.wait(30) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in serving)


def test_what_keeps_the_first_process_from_starting_is_told_and_nothing_stays(
    tmp_path: Path, bundle: Bundle
) -> None:
    home = home_with(tmp_path, bundle)
    told = refused(home, "serve", "--workers", "2", "--port", "0", NEARNORM_DEVICE="cuda")
    assert "NEARNORM_DEVICE=cuda" in told


def test_a_system_without_room_for_a_process_is_told_in_one_sentence(tmp_path: Path, bundle: Bundle) -> None:
    lost = "import sys; sys.executable = '/nowhere/python'; from nearnorm.__main__ import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", lost, "serve", "--workers", "2", "--port", "0"],
        env=environment(home_with(tmp_path, bundle)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, "Traceback" in run.stderr) == (2, False)
    last = run.stderr.strip().splitlines()[-1]
    assert last == "nearnorm: a serving process cannot be started: No such file or directory"


def test_all_processes_end_when_their_parent_is_killed(running: tuple[int, str, Path]) -> None:
    parent, _, _ = running  # the last test of this service
    ours = [*children(parent, "serve-beside"), *children(parent, "worker")]
    assert len(ours) == 3
    os.kill(parent, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ours), 10)

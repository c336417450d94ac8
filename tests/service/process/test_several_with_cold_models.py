"""`nearnorm serve --workers 2` with more models than a process holds: whichever process answers, nobody
notices."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.serving.memory.footprint import bytes_of
from nearnorm.service.upkeep.deletion import delete_version
from tests.service.bundles import make_bundle
from tests.service.process.test_server import RECORD, process
from tests.service.process.test_supervisor import both, children, samples
from tests.service.running import home_with
from tests.service.waiting import until

LINES = [f"line-{number}" for number in range(4)]
LOADS = "nearnorm_model_load_seconds_count here"
MOST_TRIES = 64
"""Connections, among which both processes have one: all are the same one's one time in 2^63."""

KEPT = httpx.Limits(keepalive_expiry=None)  # a new connection may be the other process's


class Running(NamedTuple):
    """A service of two processes that hold two models each: its store's home, and a client of either one."""

    home: Path
    clients: Sequence[httpx.Client]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {name: make_bundle(folder / name, seed=seed) for seed, name in enumerate(LINES, 41)}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, bundles: dict[str, Bundle]
) -> Iterator[Running]:
    home = home_with(tmp_path_factory.mktemp("cold"), bundle)
    store = ModelStore(home / "models")
    for name, own in bundles.items():
        store.activate(store.publish(own.path), by="test", model=name)
    settings = {
        "NEARNORM_WORKERS": "2",
        "NEARNORM_WORKER": "off",
        "NEARNORM_IDLE_SECONDS": "600",
        "NEARNORM_MODEL_BYTES": str(bytes_of(bundle) + max(map(bytes_of, bundles.values()))),
    }
    with process(home, **settings) as (parent, url), ExitStack() as opened:
        until(lambda: both(url), 60)
        found: dict[int, httpx.Client] = {}
        for _ in range(MOST_TRIES):
            client = opened.enter_context(httpx.Client(base_url=url, timeout=60, limits=KEPT))
            found.setdefault(answering(client, children(parent.pid, "serve-beside")), client)
            if len(found) == 2:
                break
        yield Running(home, list(found.values()))


def answering(client: httpx.Client, processes: Sequence[int]) -> int:
    """Which of them has the other end of a client's kept connection."""
    stream = client.get("/healthz").extensions["network_stream"]
    ours, theirs = stream.get_extra_info("client_addr")[1], stream.get_extra_info("server_addr")[1]

    found: set[int] = set()

    def met() -> bool:
        table = Path("/proc/net/tcp").read_text()  # a line may come twice, or not, as others connect
        rows = [row.split() for row in table.splitlines()[1:]]
        ends = {f"socket:[{row[9]}]" for row in rows if (_port(row[1]), _port(row[2])) == (theirs, ours)}
        found.update(pid for pid in processes if ends & _links(Path(f"/proc/{pid}/fd")))
        return bool(found)

    until(met)
    return found.pop()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _links(folder: Path) -> set[str]:
    return {str(link.readlink()) for link in folder.iterdir() if link.is_symlink()}


def cold(client: httpx.Client) -> set[str]:
    """The lines whose model the process that answers does not hold."""
    models = client.get("/readyz").raise_for_status().json()["models"]
    return {model["name"] for model in models if model["provider"] is None}


def scored(client: httpx.Client, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/score", json={"model": name, "records": [RECORD]}).json()
    return answer


def let_leave(running: Running, name: str, other: str) -> None:
    """Let a line's model leave the memory of both, by what they answer by another."""
    for client in running.clients:
        scored(client, other)
    until(lambda: all(name in cold(client) for client in running.clients))


def test_each_process_answers_by_every_model_and_its_loads_are_counted_once(
    running: Running, bundles: dict[str, Bundle]
) -> None:
    for other, name in pairwise([LINES[-1], *LINES]):
        let_leave(running, name, other)
        before = samples(running.clients[0])[LOADS]
        answers = [scored(client, name) for client in running.clients for _ in range(2)]
        served = {"name": name, "version": bundles[name].version}
        assert all(answer["model"] == served for answer in answers)
        assert len({answer["results"][0]["score"] for answer in answers}) == 1
        assert [samples(client)[LOADS] for client in running.clients] == [before + 2] * 2


def test_an_activation_reaches_both_in_a_line_that_neither_holds(
    running: Running, other_bundle: Bundle
) -> None:
    store = ModelStore(running.home / "models")
    store.publish(other_bundle.path)
    let_leave(running, LINES[0], LINES[1])
    activation = f"/models/{other_bundle.version}/activate"
    running.clients[0].post(activation, json={"model": LINES[0]}).raise_for_status()
    served = {"name": LINES[0], "version": other_bundle.version}
    until(lambda: all(scored(client, LINES[0])["model"] == served for client in running.clients))
    let_leave(running, LINES[0], LINES[1])
    assert all(scored(client, LINES[0])["model"] == served for client in running.clients)


def test_a_version_that_was_deleted_is_gone_for_both_and_its_line_goes_on(
    running: Running, bundle: Bundle, other_bundle: Bundle, bundles: dict[str, Bundle]
) -> None:
    store, gone = ModelStore(running.home / "models"), bundles[LINES[0]].version
    for version in (store.publish(other_bundle.path), bundle.version):  # two, so that no rollback needs it
        store.activate(version, by="test", model=LINES[0])
    until(lambda: all(scored(c, LINES[0])["model"]["version"] == bundle.version for c in running.clients))
    let_leave(running, LINES[0], LINES[1])
    with closing(Ledger.at(None, running.home)) as ledger:
        delete_version(ledger, store, gone, "test", None)
    for client in running.clients:
        assert client.get(f"/models/{gone}").status_code == 404
        activation = client.post(f"/models/{gone}/activate", json={"model": LINES[0]})
        assert (activation.status_code, "was deleted" in activation.json()["detail"]) == (404, True)
        assert scored(client, LINES[0])["model"]["version"] == bundle.version
        assert client.get("/readyz").json()["problems"] == []

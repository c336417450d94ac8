"""The other calls, awaited and not: labels, review, policy, models, jobs; and what goes wrong."""

import asyncio
import pickle
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

import nearnorm
from nearnorm.client import (
    ConflictError,
    InvalidRequestError,
    LimitError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
    UnreachableError,
)
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.chaos.kills import Service
from tests.service.asking import RECORD, STRANGE
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.waiting import until

Address = tuple[str, dict[str, str]]
SECRET = "nn_" + "5" * 40


def test_labels_are_stored_once_and_a_wrong_one_is_told_by_its_index(client: nearnorm.Client) -> None:
    scored = client.score([STRANGE | {"amount": 901.0}])[0]
    stored = client.label({"event_id": scored["event_id"], "label": "anomaly"}, analyst="mei")
    receipt = client.receipt(stored["receipts"][0]["feedback_id"])
    assert receipt["analyst"] == "mei"
    assert client.event(scored["event_id"], analyst="mei")["own"]
    with pytest.raises(InvalidRequestError) as caught:
        client.label([{"record": RECORD, "label": "normal"}, {"event_id": "nowhere", "label": "normal"}])
    assert caught.value.by_index[1]["type"].endswith(":unknown-event")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (str(again), again.by_index) == (str(caught.value), caught.value.by_index)
    key = caught.value.idempotency_key
    assert key
    first = client.label({"record": RECORD, "label": "normal"}, idempotency_key=key)
    assert client.label({"record": RECORD, "label": "normal"}, idempotency_key=key) == first
    with pytest.raises(ConflictError):
        client.label({"record": RECORD, "label": "anomaly"}, idempotency_key=key)


def test_lists_are_iterated_over_page_by_page(client: nearnorm.Client) -> None:
    client.score([RECORD | {"amount": float(row)} for row in range(260)])
    until(lambda: len(list(client.queue(limit=250))) == 250)
    assert len({item["event_id"] for item in client.queue(limit=250)}) == 250
    assert len(list(client.queue(limit=3))) == 3
    assert [note["number"] for note in client.audit(limit=2)] == sorted(
        (note["number"] for note in client.audit(limit=2)), reverse=True
    )


def test_alerts_are_iterated_over_plain_and_as_findings(client: nearnorm.Client) -> None:
    began = datetime.now(UTC)
    scored = client.score([STRANGE | {"amount": 950.0 + row} for row in range(210)])
    ids = [row["event_id"] for row in reversed(scored)]
    until(lambda: len(list(client.alerts(since=began))) == 210)
    assert [alert["event_id"] for alert in client.alerts(since=began)] == ids
    assert list(client.alerts(since=began, until=began.isoformat())) == []
    (alert,) = client.alerts(since=began, explain=True, include_records=True, limit=1)
    assert (alert["record"]["amount"], alert["reasons"][0]) == (1159.0, "amount")
    assert [finding["class_uid"] for finding in client.findings(since=began, limit=2)] == [2004, 2004]


def test_records_are_claimed_skipped_and_given_back(client: nearnorm.Client) -> None:
    client.score([STRANGE | {"amount": 910.0 + row} for row in range(3)])
    until(lambda: len(list(client.queue(limit=3))) == 3)
    held = client.claim(analyst="ann", limit=3)
    assert {one["event_id"] for one in client.claims(analyst="ann")} == {one["event_id"] for one in held}
    assert client.skip(held[0]["event_id"], "not my field", analyst="ann") == 1
    assert client.release(analyst="ann") == 2


def test_the_policy_is_seen_set_and_undone(client: nearnorm.Client) -> None:
    before = client.policy()["policy"]["budget"]
    assert client.set_policy("2% of normal")["policy"]["budget"] == "2% of normal"
    assert client.undo_policy()["policy"]["budget"] == before
    with pytest.raises(InvalidRequestError) as caught:
        client.set_policy("a lot")
    assert caught.value.field == "budget"


def test_models_jobs_and_what_has_no_method_of_its_own(client: nearnorm.Client) -> None:
    (version,) = client.models()
    assert version["serves"] == ["default"]
    assert client.manifest(version["version"])["core"]
    assert client.ready()["ready"]
    assert client.drift()
    job = client.retrain()
    assert [seen["job_id"] for seen in client.jobs()] == [job["job_id"]]
    with pytest.raises(TimeoutError):
        client.wait(job["job_id"], timeout=0)
    assert client.cancel(job["job_id"])["state"] == "cancelled"
    seen: list[str] = []
    assert client.wait(job["job_id"], progress=lambda one: seen.append(one["state"]))["state"] == "cancelled"
    assert [one["state"] for one in client.watch(job["job_id"])] == seen == ["cancelled"]
    with pytest.raises(NotFoundError):
        client.job("../models")
    assert client.request("GET", "/analysts")["analysts"] is not None
    assert "nearnorm_rows_total" in client.request("GET", "/metrics")
    with pytest.raises(ValueError, match="does not begin with one /"):
        client.request("GET", "http://elsewhere/")


def test_everything_is_there_to_be_awaited(address: Address) -> None:
    async def walk() -> None:
        url, keys = address
        async with nearnorm.AsyncClient(url, api_key=keys["free"]) as client:
            scored = await asyncio.gather(*(client.score([RECORD] * 1_500) for _ in range(3)))
            assert [len(one) for one in scored] == [1_500] * 3
            stored = await client.label({"record": RECORD, "label": "normal"}, analyst="bo")
            assert (await client.receipt(stored["receipts"][0]["feedback_id"]))["analyst"] == "bo"
            assert [item["status"] async for item in client.receipts(analyst="bo", limit=1)] == ["waiting"]
            with pytest.raises(NotFoundError):
                await client.job("nowhere")

    asyncio.run(walk())
    names = {name for name in vars(nearnorm.Client) if not name.startswith("_")}
    assert names == {name for name in vars(nearnorm.AsyncClient) if not name.startswith("_")}


def test_a_limited_key_waits_as_long_as_it_is_told_and_no_longer_than_its_patience(address: Address) -> None:
    url, keys = address
    with nearnorm.Client(url, api_key=keys["slow"]) as client:
        started = time.monotonic()
        for _ in range(3):
            client.score([RECORD])
        assert time.monotonic() - started > 1
    with (
        nearnorm.Client(url, api_key=keys["slow"], patience=0) as client,
        pytest.raises(LimitError) as caught,
    ):
        list(map(client.score, [[RECORD]] * 500))
    assert caught.value.name == "rate-limited"
    assert caught.value.retry_after == 1


def test_a_503_is_sent_again_when_it_says_and_not_where_that_is_beyond_the_patience(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    version = store.publish(make_bundle(tmp_path / "bundle").path)  # nobody has activated it: no model serves
    with serving(create_app(Settings(home=tmp_path))) as http, nearnorm.Client(str(http.base_url)) as client:

        def refused() -> int:
            counted = re.search(r'^nearnorm_requests_total{.*"/score",status="503"} (\d+)', metrics(), re.M)
            return int(counted[1]) if counted else 0

        def metrics() -> str:
            told: str = client.request("GET", "/metrics")
            return told

        with (
            nearnorm.Client(str(http.base_url), patience=2) as hasty,
            pytest.raises(UnavailableError) as caught,
        ):
            hasty.score([RECORD])
        assert caught.value.retry_after == 5
        assert refused() == 1
        started = time.monotonic()
        with ThreadPoolExecutor(1) as elsewhere:
            scored = elsewhere.submit(client.score, [RECORD])
            until(lambda: refused() >= 2)
            store.activate(version, by="test")
            assert scored.result(60).version == version
        seconds = time.monotonic() - started
        assert refused() <= 2 + seconds / 5  # by itself it would have come as many times as there are seconds


def test_a_service_that_is_killed_and_started_again_has_each_label_once(tmp_path: Path) -> None:
    service = Service(home_with(tmp_path, make_bundle(tmp_path / "bundle")), None)
    service.start()
    try:
        with nearnorm.Client(service.url, patience=60) as client:
            client.ready()
            done = threading.Event()

            def kill() -> None:
                time.sleep(0.3)
                service.kill()
                service.start()
                done.set()

            killer = threading.Thread(target=kill)
            killer.start()
            said = 0
            while not done.is_set() or said < 20:
                client.label(
                    {"record": RECORD | {"amount": float(said)}, "label": "normal"}, analyst=f"a{said}"
                )
                said += 1
            killer.join()
            found = [receipt["analyst"] for receipt in client.receipts()]
            assert sorted(found) == sorted(f"a{number}" for number in range(said))
    finally:
        service.close()


class Elsewhere(BaseHTTPRequestHandler):
    """What is no service: it sends callers away, and notes who came."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(f"{self.headers['host']} {self.headers['authorization']}")
        self.send_response(302 if self.path == "/drift" else 200)
        self.send_header("Location", f"http://localhost:{self.headers['host'].rpartition(':')[2]}/stolen")
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<p>hello")

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_is_not_followed_and_what_is_no_service_is_said_so(elsewhere: str) -> None:
    with nearnorm.Client(elsewhere, api_key=SECRET) as client:
        with pytest.raises(UnexpectedAnswerError, match=r"a redirect to http://localhost"):
            client.drift()
        with pytest.raises(UnexpectedAnswerError, match=r"answered text/html"):
            client.policy()
    assert len(Elsewhere.seen) == 2
    assert all(line.startswith("127.0.0.1") for line in Elsewhere.seen)


def test_the_key_is_in_no_text(address: Address) -> None:
    with nearnorm.Client(address[0], api_key=SECRET) as client:
        with pytest.raises(UnauthorizedError) as caught:
            client.policy()
        error = caught.value
        assert SECRET not in f"{client!r} {error!r} {error} {vars(error)} {vars(client)}"
        assert SECRET not in f"{client._http.headers!r}"
    for wrong in (SECRET + "\nX: y", SECRET + "ü", SECRET + " " + SECRET):
        with pytest.raises(ValueError, match="characters that no key has") as refused:
            nearnorm.Client(api_key=wrong)
        assert "555" not in str(refused.value)


def test_the_environment_says_where_and_with_which_key(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, keys = address
    monkeypatch.setenv("NEARNORM_URL", url)
    monkeypatch.setenv("NEARNORM_API_KEY", keys["free"] + "\n")
    with nearnorm.Client() as client:
        assert client.policy()["model"] == "default"


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8000", "http://", "http://me:secret@host", "http://h/?a=1"]
)
def test_an_address_that_is_none_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        nearnorm.Client(url)
    assert "secret" not in str(caught.value)


def test_where_nothing_answers_it_is_said_after_the_patience() -> None:
    with nearnorm.Client("http://127.0.0.1:9", patience=0.3) as client:
        started = time.monotonic()
        with pytest.raises(UnreachableError, match=r"no answer from http://127.0.0.1:9 in \d tries"):
            client.policy()
        assert 0.1 < time.monotonic() - started < 60  # and not for ever

"""A web page cannot drive the service through the browser of somebody who can reach it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings, load_settings
from tests.contract.wire import Reply
from tests.service.http.connection.test_trailers import created
from tests.service.http.raw import BODY, HOST, answers, post, statuses
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD, problem

LABEL = b'{"labels":[{"label":"normal","record":{"amount":61.5}}]}'
WRITES = (
    ("POST", "/feedback", LABEL),
    ("POST", "/score", BODY),
    ("POST", "/forget", b'{"record_id":"x"}'),
    ("POST", "/jobs", b""),
    ("POST", "/models/rollback", b""),
    ("POST", "/policy/undo", b""),
    ("PUT", "/policy", b'{"budget":"1%"}'),
    ("DELETE", "/jobs/x", b""),
)
READS = (b"/queue", b"/audit", b"/openapi.json", b"/models", b"/nothing")
PROBES = (b"/healthz", b"/readyz", b"/metrics")
FOREIGN = (
    b"evil.example",
    b"evil.example:8000",
    b"localhost.evil.example",
    b"127.0.0.1.evil.example:80",
    b"notlocalhost",
    b"10.0.0.7",
    b"[fe80::1]:8000",
    b"0.0.0.0",
    b"",
)
OURS = (b"localhost", b"LocalHost:1", b"localhost.", b"127.0.0.1:8000", b"127.9.9.9", b"[::1]:8000", b"[::1]")
NO_HOST = (
    b"localhost@evil.example",
    b"user:pw@localhost",
    b"localhost/evil",
    b"localhost:80x",
    b"localhost, evil.example",
    b"local host",
    b"[::1",
    b"evil.example#localhost",
    b"evil%2eexample",
    b"\xe9vil",
)


def serving_at(home: Path, **settings: object) -> Iterator[httpx.Client]:
    with serving(create_app(Settings(home=home, **settings))) as client:  # type: ignore[arg-type]
        yield client


def ask(client: httpx.Client, path: bytes, host: bytes) -> Reply:
    (found,) = answers(client, b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (path, host))
    return found


def score(client: httpx.Client, host: bytes, path: bytes = b"/score") -> Reply:
    request = post(path, BODY, b"Connection: close", host=b"Host: " + host + b"\r\n")
    (found,) = answers(client, request)
    return found


@pytest.mark.parametrize("host", FOREIGN)
def test_without_keys_a_foreign_host_reads_and_writes_nothing(client: httpx.Client, host: bytes) -> None:
    for path in READS:
        ask(client, path, host).problem(421, "misdirected-request")
    for path in (b"/score", b"/score?", b"/feedback"):
        assert (
            "NEARNORM_ALLOWED_HOSTS"
            in score(client, host, path).problem(421, "misdirected-request")["detail"]
        )


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", PROBES)
def test_probes_may_send_the_address_that_they_found(client: httpx.Client, path: bytes, host: bytes) -> None:
    assert ask(client, path, host).status == 200


@pytest.mark.parametrize("host", OURS)
def test_names_and_addresses_of_this_machine_are_hosts(client: httpx.Client, host: bytes) -> None:
    assert ask(client, b"/queue", host).status == 200
    for path in (b"/score", b"/score?"):
        assert score(client, host, path).status == 200


@pytest.mark.parametrize("host", NO_HOST)
def test_what_is_no_host_and_port_is_refused_on_every_route(client: httpx.Client, host: bytes) -> None:
    for path in (b"/queue", b"/healthz", b"/nothing"):
        ask(client, path, host).problem(400, "malformed-request")
    for path in (b"/score", b"/score?"):
        score(client, host, path).problem(400, "malformed-request")


@pytest.mark.parametrize(
    "hosts", [b"", HOST * 2, HOST + b"Host: evil.example\r\n", b"Host: evil.example\r\n" + HOST]
)
def test_one_host_is_wanted_and_no_second(client: httpx.Client, hosts: bytes) -> None:
    for path in (b"/score", b"/score?", b"/feedback"):
        (found,) = answers(client, post(path, BODY, b"Connection: close", host=hosts))
        found.problem(400, "malformed-request")
    (found,) = answers(client, b"GET /healthz HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    found.problem(400, "malformed-request")


def test_before_http_1_1_a_host_is_not_needed(client: httpx.Client) -> None:
    assert statuses(client, b"GET /queue HTTP/1.0\r\n\r\n") == [200]
    assert statuses(client, b"GET /queue HTTP/1.0\r\nHost: evil.example\r\n\r\n") == [421]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://localhost/queue", 200),
        (b"http://evil.example/queue", 400),
        (b"http://localhost:80@evil.example/queue", 400),
        (b"http://user@localhost/queue", 400),
        (b"http://[/queue", 400),
    ],
)
def test_a_target_that_names_another_host_is_refused(
    client: httpx.Client, target: bytes, status: int
) -> None:
    assert ask(client, target, b"localhost").status == status


def test_a_folded_header_hides_no_host(client: httpx.Client) -> None:
    (found,) = answers(client, b"GET /queue HTTP/1.1\r\nHost: localhost\r\n .evil.example\r\n\r\n")
    found.problem(400, "malformed-request")


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    ],
)
def test_a_page_of_another_site_writes_nothing(
    client: httpx.Client, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    sent = headers | ({"Content-Type": "application/json"} if body else {})
    problem(client.request(method, path, content=body, headers=sent), 403, "cross-site-request")
    audit = client.get("/audit").json()["audit"]
    assert audit == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("dest", ["empty", "image", "script", "iframe"])
@pytest.mark.parametrize("path", ["/queue/groups", "/policy/curve", "/review", "/groups"])
def test_a_page_of_another_site_asks_nothing_and_is_handed_no_record(
    client: httpx.Client, path: str, dest: str, site: str
) -> None:
    mode = "navigate" if dest == "iframe" else "no-cors"
    sent = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    problem(client.get(path, headers=sent), 403, "cross-site-request")
    assert client.get("/claims").json()["claims"] == []


def test_a_link_of_another_site_leads_here_and_probes_answer_whoever_asks(client: httpx.Client) -> None:
    led = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/review", headers=led).status_code == 200
    assert client.get("/healthz", headers=led | {"Sec-Fetch-Dest": "image"}).status_code == 200


def test_a_page_of_our_own_and_a_program_write_as_ever(client: httpx.Client) -> None:
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    for headers in (own, {"Sec-Fetch-Site": "none"}, {}):
        assert client.post("/score", json={"records": [RECORD]}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_body_wants_its_content_type(client: httpx.Client, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    for method, path, body in WRITES:
        answer = client.request(method, path, content=body or b"{}", headers=headers)
        problem(answer, 415, "unsupported-media-type")
        answer = client.request(method, path, content=iter([body or b"{}"]), headers=headers)  # chunked
        problem(answer, 415, "unsupported-media-type")


def test_no_body_wants_none(tmp_path: Path, bundle: Bundle) -> None:
    for client in serving_at(home_with(tmp_path, bundle)):
        for request in (b"", b"Content-Length: 0\r\n", b"Content-Type: text/plain\r\nContent-Length: 0\r\n"):
            head = b"POST /jobs HTTP/1.1\r\n" + HOST + request + b"Connection: close\r\n\r\n"
            assert statuses(client, head) == [202]


def test_where_keys_are_needed_any_name_will_do_and_listed_ones_alone_where_some_are(
    tmp_path: Path, bundle: Bundle
) -> None:
    home = home_with(tmp_path, bundle)
    secret = created(home).encode()

    def asked(client: httpx.Client, host: bytes) -> int:
        request = post(
            b"/score", BODY, b"X-API-Key: " + secret, b"Connection: close", host=b"Host: " + host + b"\r\n"
        )
        return statuses(client, request)[0]

    for client in serving_at(home):
        assert asked(client, b"nearnorm.svc:8000") == 200
        assert asked(client, b"10.0.0.7") == 200
        assert ask(client, b"/queue", b"evil.example").status == 401
    for client in serving_at(home, allowed_hosts="nearnorm.svc, *.corp.example"):
        assert asked(client, b"nearnorm.svc:8000") == asked(client, b"A.corp.example") == 200
        assert asked(client, b"corp.example") == asked(client, b"evilcorp.example") == 421
        assert asked(client, b"localhost") == 200


@pytest.mark.parametrize(
    "name", ['["desk.example"]', "desk.example:8000", "https://desk.example", "*example", "::1]"]
)
def test_what_no_host_can_be_called_is_refused_as_a_name_of_the_service(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="is no name of a host"):
        Settings(home=tmp_path, allowed_hosts=f"nearnorm.svc, {name}")
    Settings(home=tmp_path, allowed_hosts="nearnorm, Desk.example., *.corp.example, 10.0.0.7, 2001:db8::7, *")


def test_whoever_lets_everybody_in_lists_the_names_or_is_asked_by_address(
    tmp_path: Path, bundle: Bundle
) -> None:
    home = home_with(tmp_path, bundle)
    for client in serving_at(home, host="0.0.0.0", allow_anonymous=True):  # noqa: S104
        assert score(client, b"10.0.0.7:8000").status == score(client, b"localhost").status == 200
        assert score(client, b"evil.example").status == 421
    for client in serving_at(home, allow_anonymous=True, allowed_hosts="*"):
        assert score(client, b"evil.example").status == 200


def test_pages_of_listed_origins_may_read_and_write_and_no_others(tmp_path: Path, bundle: Bundle) -> None:
    desk, evil = "https://desk.example", "https://evil.example"
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    home = home_with(tmp_path, bundle)
    for client in serving_at(home, cors_origins=f"{desk}, http://localhost:3000"):
        for path in ("/score", "/policy"):
            allowed = client.options(path, headers={"Origin": desk} | asks)
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == desk
            assert (
                "access-control-allow-origin"
                not in client.options(path, headers={"Origin": evil} | asks).headers
            )
        sent = {"Origin": desk, "Sec-Fetch-Site": "cross-site"}
        for answer in (
            client.post("/score", json={"records": [RECORD]}, headers=sent),
            client.post("/jobs", headers=sent),
            client.get("/queue", headers=sent),
        ):
            assert answer.status_code in (200, 202)
            assert answer.headers["access-control-allow-origin"] == desk
        problem(client.post("/jobs", headers={"Origin": evil}), 403, "cross-site-request")


def test_by_default_no_page_may_read(client: httpx.Client) -> None:
    answer = client.get("/queue", headers={"Origin": "https://desk.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin", ["*", "null", "desk.example", "https://desk.example/", "https://Desk.example"]
)
def test_an_origin_that_is_none_is_told_at_the_start(origin: str) -> None:
    with pytest.raises(ConfigError, match="NEARNORM_CORS_ORIGINS"):
        load_settings({"cors_origins": origin})


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
def test_a_key_that_is_sent_twice_is_refused_everywhere_alike(
    tmp_path: Path, bundle: Bundle, name: str
) -> None:
    home = home_with(tmp_path, bundle)
    secret = created(home)
    good = secret if name == "X-API-Key" else f"Bearer {secret}"
    for client in serving_at(home):
        for values in ((good, good), ("nn_bad", good), (good, "nn_bad")):
            headers = [(name, value) for value in values]
            for answer in (
                client.post("/score", json={"records": [RECORD]}, headers=headers),
                client.post("/score?", json={"records": [RECORD]}, headers=headers),
                client.get("/models", headers=headers),
            ):
                problem(answer, 401, "unauthorized")
        assert client.get("/models", headers={name: good}).status_code == 200

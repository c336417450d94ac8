"""Header fields behind a chunked body: nobody reads them, and there is an end to them."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.access import keyring
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.settings import Settings
from tests.contract.wire import replies
from tests.service.http.raw import BODY, HEALTH, HOST, JSON_TYPE, LAST, answers, chunked, statuses
from tests.service.running import home_with, serving


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[tuple[httpx.Client, bytes]]:
    """A service that asks for a key, and one that scores."""
    home = home_with(tmp_path_factory.mktemp("keyed"), bundle)
    secret = created(home)
    with serving(create_app(Settings(home=home, max_headers=20, max_header_bytes=2048))) as client:
        yield client, secret.encode()


def created(home: Path) -> str:
    ledger = Ledger.at(None, home)
    migrate(ledger)
    with ledger.write() as connection:
        secret, _ = keyring.create(connection, "scorer", ["score"], "test")
    ledger.close()
    return secret


@pytest.mark.parametrize(
    "header", [b"X-API-Key: %b", b"Authorization: Bearer %b", b"AUTHORIZATION: Bearer %b"]
)
def test_a_key_in_a_trailer_opens_nothing(keyed: tuple[httpx.Client, bytes], header: bytes) -> None:
    client, secret = keyed
    trailer = header % secret + b"\r\n"
    assert statuses(client, chunked(trailer=trailer) + LAST) == [401, 200]
    head, _, rest = chunked(trailer=trailer).partition(b"0\r\n")
    assert statuses(client, head, b"0\r\n", rest, LAST) == [401, 200]


@pytest.mark.parametrize(
    "trailer",
    [
        b"X-API-Key: nn_bad",
        b"Authorization: Basic x",
        b"Content-Type: text/plain",
        b"Content-Encoding: gzip",
        b"Host: evil.example",
        b"Origin: https://evil.example",
        b"Expect: 100-continue",
    ],
)
def test_what_a_trailer_says_changes_nothing(keyed: tuple[httpx.Client, bytes], trailer: bytes) -> None:
    client, secret = keyed
    request = chunked(BODY, b"X-API-Key: " + secret, trailer=trailer + b"\r\n")
    assert statuses(client, request, HEALTH, LAST) == [200, 200, 200]


@pytest.mark.parametrize(
    "trailer",
    [
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"connection: upgrade\r\nUpgrade: websocket",
        b"Upgrade: websocket",
        b"Proxy-Connection: close",
    ],
)
def test_a_trailer_may_not_tell_where_a_request_ends(
    keyed: tuple[httpx.Client, bytes], trailer: bytes
) -> None:
    client, secret = keyed
    request = chunked(BODY, b"X-API-Key: " + secret, trailer=trailer + b"\r\n")
    (found,) = answers(client, request + LAST)
    found.problem(400, "malformed-request")


@pytest.mark.parametrize(
    "trailer", [b"".join(b"a%d: 1\r\n" % n for n in range(21)), b"a: " + b"x" * 2048 + b"\r\n"]
)
def test_more_trailers_than_a_head_may_have_are_refused(
    keyed: tuple[httpx.Client, bytes], trailer: bytes
) -> None:
    client, secret = keyed
    (found,) = answers(client, chunked(BODY, b"X-API-Key: " + secret, trailer=trailer) + LAST)
    found.problem(431, "headers-too-large")


@pytest.mark.parametrize("unit", [b"x: y\r\n", b"x" * 1000], ids=["many", "one without end"])
@pytest.mark.parametrize("refused", [False, True], ids=["scored", "refused by its key"])
def test_trailers_without_end_do_not_fill_the_memory(
    keyed: tuple[httpx.Client, bytes], unit: bytes, refused: bool
) -> None:
    client, secret = keyed
    key = b"X-API-Key: " + (b"nn_bad" if refused else secret) + b"\r\n"
    head = b"POST /score HTTP/1.1\r\n" + HOST + JSON_TYPE + key + b"Transfer-Encoding: chunked\r\n\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(head + b"2\r\n{}\r\n0\r\nname: ")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 20_000_000:
                connection.sendall(unit * 100)
                sent += 100 * len(unit)
        assert sent < 20_000_000, "somebody reads all of it"
        found = []
        with contextlib.suppress(ConnectionError):
            found = [answer.status for answer in replies(connection)]
    assert found in ([], [401], [431]), "one answer a request, whatever follows it"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KB


def test_a_body_in_many_small_chunks_is_no_trailer(keyed: tuple[httpx.Client, bytes]) -> None:
    client, secret = keyed
    head, _, _ = chunked(BODY, b"X-API-Key: " + secret).partition(b"\r\n\r\n")
    body = BODY + b" " * 3000
    pieces = b"".join(b"1;why=not\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert statuses(client, head + b"\r\n\r\n", pieces[:9000], pieces[9000:], LAST) == [200, 200]

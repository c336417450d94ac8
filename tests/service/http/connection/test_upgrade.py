"""A request that offers another protocol is answered as if it did not, body and all (RFC 9110, 7.8)."""

import gzip
from itertools import product

import httpx
import pytest

from tests.service.http.raw import BODY, HEALTH, LAST, answers, chunked, post, statuses

OFFERS = (
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13"),
    (b"Upgrade: TLS/1.0, foo/2", b"Connection: keep-alive, Upgrade"),
    (b"CONNECTION:upgrade", b"UPGRADE:x"),
    (b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: x", b"Upgrade: y"),
    (b"Upgrade: x",),
)
SMUGGLED = b"GET /audit HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
def test_the_body_of_a_request_with_an_offer_is_read(client: httpx.Client, offer: tuple[bytes, ...]) -> None:
    packed = gzip.compress(BODY)
    for request in (
        post(b"/score", BODY, *offer),
        chunked(BODY, *offer),
        post(b"/score", packed, *offer, b"Content-Encoding: gzip"),
        post(b"/score?", BODY, *offer),
    ):
        first, health = answers(client, request + LAST)
        assert (first.status, health.status) == (200, 200)
        assert b'"score"' in first.body
        assert "upgrade" not in first.headers


@pytest.mark.parametrize("offer", OFFERS)
def test_a_body_in_a_later_packet_is_never_a_request(client: httpx.Client, offer: tuple[bytes, ...]) -> None:
    for path in (b"/score", b"/feedback"):
        packet = post(path, SMUGGLED, *offer)
        head = len(packet) - len(SMUGGLED)
        for cut in (10, head - 2, head, head + 5):
            found = answers(client, packet[:cut], packet[cut:], HEALTH + LAST, pause=0.02)
            assert [answer.status for answer in found] == [400, 200, 200], (path, cut)


def test_every_request_of_a_connection_may_offer(client: httpx.Client) -> None:
    offers = [post(b"/score", BODY, *offer) for offer, _ in product(OFFERS, range(20))]
    assert statuses(client, b"".join(offers) + LAST) == [200] * len(offers) + [200]


def test_an_offer_with_an_old_version_or_the_last_of_a_connection_ends_it(client: httpx.Client) -> None:
    offer = (b"Connection: upgrade, close", b"Upgrade: h2c")
    (found,) = answers(client, post(b"/score", BODY, *offer) + HEALTH)
    assert (found.status, found.headers["connection"]) == (200, "close")
    (found,) = answers(client, post(b"/score", BODY, *OFFERS[0]).replace(b"HTTP/1.1", b"HTTP/1.0") + HEALTH)
    assert (found.status, found.headers["connection"]) == (200, "close")


def test_an_offer_does_not_widen_the_bounds_of_a_head(client: httpx.Client) -> None:
    many = [b"X%d: 1" % number for number in range(120)]
    (found,) = answers(client, post(b"/score", BODY, *OFFERS[0], *many) + HEALTH)
    found.problem(431, "headers-too-large")
    (found,) = answers(client, post(b"/score", BODY, *OFFERS[0], b"X: " + b"x" * 40_000) + HEALTH)
    found.problem(431, "headers-too-large")


def test_a_tunnel_is_refused_and_what_is_sent_into_it_is_read_by_nobody(client: httpx.Client) -> None:
    for target in (b"localhost:80", b"/score"):
        (found,) = answers(client, b"CONNECT %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target + SMUGGLED)
        assert found.problem(405, "method-not-allowed")
        assert found.headers["connection"] == "close"

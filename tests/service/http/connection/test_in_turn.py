"""Requests that are sent ahead of their answers wait where they cost little."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.http.connection.in_turn import MOST_AHEAD
from nearnorm.service.settings import Settings
from tests.contract.wire import replies
from tests.service.http.raw import HEALTH, LAST, statuses
from tests.service.running import home_with, serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[httpx.Client]:
    home: Path = home_with(tmp_path_factory.mktemp("ahead"), bundle)
    with serving(create_app(Settings(home=home))) as running:
        yield running


def test_who_sends_on_and_reads_no_answers_does_not_fill_the_memory(client: httpx.Client) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=2) as connection:
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < 20_000_000:
                connection.sendall(HEALTH * 100)  # fewer than may wait
                sent += 100 * len(HEALTH)
    assert sent < 20_000_000, "somebody reads all of it"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KB


def test_as_many_as_may_wait_are_answered_and_the_connection_goes_on(client: httpx.Client) -> None:
    ahead = [HEALTH * MOST_AHEAD, LAST]
    assert statuses(client, *ahead) == [200] * (MOST_AHEAD + 1)


def test_beyond_that_what_came_before_is_answered_and_the_connection_closed(client: httpx.Client) -> None:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(HEALTH * (MOST_AHEAD + 500))
        found = []
        with contextlib.suppress(ConnectionError):
            for answer in replies(connection):
                found.append(answer.status)
    assert set(found) == {200}
    assert MOST_AHEAD <= len(found) < MOST_AHEAD + 500

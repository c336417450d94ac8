"""More than can be scored: what is refused costs next to nothing, and nobody else pays for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from models.bundle import Bundle
from service.app import Application, create_app
from service.settings import Settings
from tests.service.serving import home_with, serving

BODY = {"records": [{"amount": 61.5, "channel": "web"}]}


@pytest.fixture
def app(tmp_path: Path, bundle: Bundle) -> Application:
    return create_app(Settings(home=home_with(tmp_path / "home", bundle)))


@contextmanager
def full(app: Application) -> Iterator[None]:
    """The queue, as rows that wait leave it."""
    batcher = app.state.slots.first().batcher
    batcher.rows += batcher.limit
    try:
        yield
    finally:
        batcher.rows -= batcher.limit


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"].endswith("overloaded")


def test_what_is_refused_is_not_read_and_its_connection_serves_on(app: Application) -> None:
    with serving(app) as client:
        assert client.post("/score", json=BODY).status_code == 200
        with full(app):
            refused(client.post("/score", json=BODY))
            refused(client.post("/score?model=default", content=b"no JSON at all"))
            refused(client.post("/score", content=b"x" * 1_000_000))
            assert client.get("/healthz").status_code == 200
            assert client.get("/scores").status_code == 404
        assert client.post("/score", json=BODY).status_code == 200
        told = client.get("/metrics").text
    assert 'nearnorm_requests_total{method="POST",route="/score",status="429"} 3.0' in told


def test_a_first_request_and_one_that_closes_its_connection_are_refused_alike(app: Application) -> None:
    with serving(app) as client, full(app):
        refused(client.post("/score", json=BODY))
        with httpx.Client(base_url=client.base_url) as fresh:
            refused(fresh.post("/score", content=b"no JSON at all"))
            closing = fresh.post("/score", content=b"no JSON at all", headers={"Connection": "close"})
            refused(closing)
            assert closing.headers["connection"] == "close"


def test_the_queue_takes_requests_again_once_a_batch_has_room(app: Application) -> None:
    with serving(app) as client:
        batcher = app.state.slots.first().batcher
        with full(app):
            refused(client.post("/score", json=BODY))
            assert batcher.shut
            batcher.rows -= 1
            refused(client.post("/score", json=BODY))
            batcher.rows -= 2_000
            assert client.post("/score", json=BODY).status_code == 200
            batcher.rows += 2_001
        assert not batcher.shut

"""A PostgreSQL that is slow: labels take their time and are stored, scoring takes none."""

import contextlib
import socket
import time
from pathlib import Path

import psycopg

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, score, stored
from tests.service.ledger.servers import Proxy
from tests.service.running import home_with, serving
from tests.service.waiting import quickest

DELAY = 0.1  # seconds, each way


class SlowProxy(Proxy):
    slow = False

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(DELAY if self.slow else 0.0)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_slow_database_slows_labels_and_no_score(tmp_path: Path, payments: Bundle, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE slow")
    network = SlowProxy(f"{postgres.partition('host=')[2]}/.s.PGSQL.5432")
    url = f"postgresql://postgres@127.0.0.1:{network.port}/slow"
    home = home_with(tmp_path / "home", payments)
    with serving(create_app(Settings(home=home, database_url=url, audit_rate=1.0))) as client:
        network.slow = True
        began = time.monotonic()
        stored(label(client, {"record": STRANGE, "label": "anomaly"}))
        assert time.monotonic() - began > 2 * DELAY
        assert score(client, STRANGE)["matched_feedback"]["label"] == "anomaly"
        assert score(client, RECORD)["event_id"]
        assert quickest(lambda: score(client, RECORD)) < DELAY
        network.slow = False
    network.close()

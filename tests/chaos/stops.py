"""SIGTERM again and again under load: is every request that was accepted answered?

    python -m tests.chaos.stops --stops 50

Accepted is what the application was called for: the service logs every such request by the id that the
client gave it. Lost is what is in that log and has no whole answer at the client. What the service never
read, because it closed an idle connection while the request was under way, is counted apart.
"""

import argparse
import http.client
import json
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.kills import Service

RECORD = {
    "f1": 45.0,
    "f2": 0.0,
    "f3": 80.0,
    "f4": 1.0,
    "f5": 40.0,
    "f6": 2.0,
    "f7": 38.0,
    "f8": 40.0,
    "f9": 2.0,
}
CLIENTS = 12
ROWS = (1, 1, 1, 20, 500, 4000)


@dataclass
class Outcome:
    stops: int
    accepted: int = 0
    lost: int = 0
    unread: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    slowest_stop: float = 0.0


class Client(threading.Thread):
    """Sends one request after another on one connection, until the service is gone."""

    def __init__(self, port: int, name: str, go: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._port = port
        self._go = go
        self.answered: dict[str, int] = {}
        self.unanswered: list[str] = []

    def run(self) -> None:
        chance, number = random.Random(self.name), 0  # noqa: S311
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._go.is_set():
            path, document = self._request(chance)
            id_ = f"{self.name}.{number}"
            number += 1
            try:
                connection.request("POST", path, json.dumps(document), {"X-Request-ID": id_})
                response = connection.getresponse()
                response.read()
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException):
                self.unanswered.append(id_)
                connection.close()
                continue
            self.answered[id_] = response.status
            if chance.random() < 0.3:
                time.sleep(chance.random() * 0.01)

    def _request(self, chance: random.Random) -> tuple[str, dict[str, Any]]:
        record = RECORD | {"f1": round(chance.random() * 100, 3)}
        if chance.random() < 0.1:
            return "/feedback", {"labels": [{"record": record, "label": "normal"}]}
        return "/score", {"records": [record] * chance.choice(ROWS)}


def stop_once(service: Service, log: Path, number: int, outcome: Outcome) -> None:
    """Start the service, load it, end it, and compare its log with what the clients have."""
    begin = log.stat().st_size
    service.start()
    done = threading.Event()
    clients = [Client(service.port, f"{number}.{place}", done) for place in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(0.5 + random.random())  # noqa: S311
    begun = time.monotonic()
    service.kill(signal.SIGTERM)
    outcome.slowest_stop = max(outcome.slowest_stop, time.monotonic() - begun)
    done.set()
    for client in clients:
        client.join(60)
    with log.open() as lines:
        lines.seek(begin)
        entries = [json.loads(line) for line in lines if line.startswith("{")]
    accepted = {e["request_id"] for e in entries if e.get("event") == "request" and e["path"] != "/readyz"}
    answered = {id_ for client in clients for id_ in client.answered}
    outcome.accepted += len(accepted)
    outcome.lost += len(accepted - answered)
    outcome.unread += sum(id_ not in accepted for client in clients for id_ in client.unanswered)
    for status in (status for client in clients for status in client.answered.values()):
        outcome.answers[status] = outcome.answers.get(status, 0) + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=50)
    asked = parser.parse_args()
    outcome = Outcome(asked.stops)
    with tempfile.TemporaryDirectory() as home:
        service = Service(Path(home), None, log_requests="true", audit_rate="0.01")
        for number in range(asked.stops):
            stop_once(service, Path(home) / "service.log", number, outcome)
            print(
                f"{number + 1} of {asked.stops}: {outcome.accepted:,} accepted, {outcome.lost} lost",
                flush=True,
            )
    print(json.dumps(asdict(outcome)))
    sys.exit(bool(outcome.lost))


if __name__ == "__main__":
    main()

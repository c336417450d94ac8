"""A budget that parts is told, end to end: alerts over HTTP, a signed message, and another at its end."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.traffic import score_bins
from tests.service.asking import STRANGE
from tests.service.running import serving
from tests.service.waiting import until
from tests.service.webhooks.receiver import Receiver, receiving

HOUR_MS = 3_600_000


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """What is in force is looked at anew with every look at the ledger, not once a minute."""
    monkeypatch.setattr(policies, "SOLVE_EVERY", 0.0)
    hosts = settings.model_copy(update={"webhook_hosts": "127.0.0.1"})
    with serving(create_app(hosts)) as client:
        yield client


def quiet_days(ledger: Ledger, version: str, days: int = 9, rows: int = 1_000) -> None:
    """Traffic of before the test, which raised nothing."""
    bins = score_bins.count(np.linspace(0, 0.5, rows, dtype=np.float32))
    sketch = {int(place): float(bins[place]) for place in np.flatnonzero(bins)}
    now = now_ms() // HOUR_MS
    hours = [
        Counted("default", now - back, version, "app", rows, 0, 0, 0, 0, sketch)
        for back in range(1, 24 * days + 1)
    ]
    with ledger.write() as connection:
        traffic.put(connection, "w", hours)


def told(receiver: Receiver, event: str) -> bool:
    return any(message.json["type"] == event for message in receiver.taken)


def test_more_alerts_than_were_forecast_are_told_and_so_is_that_the_budget_is_kept_again(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    quiet_days(ledger, payments.version)
    with receiving() as receiver:
        made = client.post("/webhooks", json={"url": receiver.url, "kinds": ["budget"]})
        assert made.status_code == 201, made.text
        forecast = client.put("/policy", json={"budget": "40 a day"}).json()["policy"]["forecast"]
        count = int(2 * max(forecast["high"], 1.0))
        records = [STRANGE | {"amount": 900.0 + place} for place in range(count)]
        results = client.post("/score", json={"records": records}).json()["results"]
        assert all(result["anomaly"] for result in results)
        until(lambda: told(receiver, "budget.began"))
        client.put("/policy", json={"budget": "20000 a day"}).raise_for_status()
        until(lambda: told(receiver, "budget.ended"))
    began, ended = (message.verified(made.json()["secret"]) for message in receiver.taken)
    assert (began["type"], ended["type"]) == ("budget.began", "budget.ended")
    assert began["data"]["model"] == "default"
    assert began["data"]["model_version"] == payments.version
    assert began["data"]["budget"] == "40 a day"
    assert began["data"]["raised_in_a_day"] == count
    (problem,) = began["data"]["problems"]
    assert f"{count:,} alerts were raised in a day" in problem
    assert ended["data"]["model"] == "default"

"""Rates over several processes, on both databases: each is charged once for what another let through."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.access.keyring import Keyring
from nearnorm.service.access.quota import Meter
from nearnorm.service.access.shared_limits import GONE, SharedLimits
from nearnorm.service.background import Background
from nearnorm.service.errors import RateLimited
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import spending
from tests.service.process.test_server import RECORD, process
from tests.service.running import home_with
from tests.service.waiting import until


class Process:
    """What a serving process has of it."""

    def __init__(self, ledger: Ledger) -> None:
        self.keyring = Keyring("127.0.0.1", True, Quota(rows_per_second=10, requests_per_second=10))
        self.limits = SharedLimits(ledger, Background(), self.keyring)

    @property
    def meter(self) -> Meter:
        return self.keyring.meters()["anonymous"]

    def owes(self) -> bool:
        try:
            self.meter.rows(1)
        except RateLimited:
            return True
        return False


@pytest.fixture
def processes(ledger: Ledger) -> Callable[[], Process]:
    return lambda: Process(ledger)


def exchange(*processes: Process) -> None:
    for one in processes:
        one.limits.exchange()


def test_what_one_lets_through_the_others_are_charged_once(processes: Callable[[], Process]) -> None:
    first, second = processes(), processes()
    exchange(first, second)
    first.meter.rows(1_000)
    exchange(first, second)
    assert second.owes()
    for _ in range(3):
        exchange(first, second)
    assert second.meter._rows is not None
    assert -1_000 < second.meter._rows._left < -900  # time passes


def test_requests_are_counted_as_rows_are(processes: Callable[[], Process]) -> None:
    first, second = processes(), processes()
    exchange(first, second)
    for _ in range(10):
        first.meter.request()
    exchange(first, second)
    second.meter.rows(1)  # no rows were sent
    with pytest.raises(RateLimited, match="10 requests a second"):
        second.meter.request()


def test_who_comes_later_charges_nothing_of_before(processes: Callable[[], Process]) -> None:
    first = processes()
    first.meter.rows(1_000)
    exchange(first)
    late = processes()
    exchange(late, first, late)
    assert not late.owes()


def test_who_was_idle_for_long_owes_all_of_it_all_the_same(
    processes: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = processes(), processes()
    exchange(first, second)
    monkeypatch.setattr("nearnorm.service.access.quota.monotonic", lambda: 1e9)
    first.meter.rows(1_000)
    exchange(first, second)
    assert second.owes()


def test_counts_of_a_process_that_is_gone_go_and_those_of_a_quiet_one_stay(
    processes: Callable[[], Process], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, quiet, other = processes(), processes(), processes()
    for one in (gone, quiet):
        one.meter.rows(5)
    exchange(gone, quiet)
    now = now_ms()
    for later in (GONE // 2, GONE + 1):
        monkeypatch.setattr("nearnorm.service.access.shared_limits.now_ms", lambda later=later: now + later)
        exchange(quiet)
    with ledger.read() as connection:
        assert {process for process, _ in spending.of_others(connection, other.limits._process)} == {
            quiet.limits._process
        }


@pytest.fixture
def replicas(tmp_path: Path, url: str | sa.URL, bundle: Bundle) -> Iterator[list[httpx.Client]]:
    """Two services that share one ledger and count limits together."""
    text = url if isinstance(url, str) else url.render_as_string()
    given = {"NEARNORM_DATABASE_URL": text, "NEARNORM_WORKER": "off"}
    limits = {"NEARNORM_ROWS_PER_SECOND": "10", "NEARNORM_SHARED_LIMITS": "true"}
    with ExitStack() as opened:
        addresses = [
            opened.enter_context(process(home_with(tmp_path / name, bundle), **given, **limits))[1]
            for name in ("first", "second")
        ]
        yield [opened.enter_context(httpx.Client(base_url=one, timeout=60)) for one in addresses]


def waits(client: httpx.Client, rows: int = 1) -> int:
    """For how many seconds so many rows have to wait; 0: they were scored."""
    answer = client.post("/score", json={"records": [RECORD] * rows})
    if answer.status_code != 200:
        assert answer.json()["type"].endswith("rate-limited")
    return int(answer.headers.get("retry-after", 0))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_replicas_that_share_limits_hold_a_caller_to_one_rate(replicas: list[httpx.Client]) -> None:
    first, second = replicas
    assert waits(second) == 0
    until(lambda: waits(first, 5_000) == 0)
    until(lambda: waits(second) > 60)  # longer than for what it was sent itself

"""Rates over several processes, on both databases: each is charged once for what another let through."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import httpx
import pytest
from msgspec import Struct

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.access.keyring import Keyring
from nearnorm.service.access.quota import Meter
from nearnorm.service.access.shared_limits import GONE, SharedLimits
from nearnorm.service.background import Background
from nearnorm.service.errors import RateLimited
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import lines, spending
from tests.service.ledger.servers import fresh_database
from tests.service.process.test_server import RECORD, process
from tests.service.running import home_with
from tests.service.waiting import until


class Process:
    """What a serving process has of it."""

    def __init__(self, ledger: Ledger) -> None:
        self.keyring = Keyring("127.0.0.1", True, Quota(rows_per_second=10, requests_per_second=10))
        self.limits = SharedLimits(ledger, Background(), self.keyring.meters)

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


class Replicas(Struct):
    """Two services that share one ledger and count limits together, and the secrets of two keys."""

    clients: tuple[httpx.Client, httpx.Client]
    ann: str
    bo: str


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, postgres: str, bundle: Bundle) -> Iterator[Replicas]:
    """Callers without a key may send ten rows a second, and so may all of the line `held` together."""
    with ExitStack() as opened:
        url = opened.enter_context(fresh_database(postgres))
        with closing(Ledger(url)) as ledger:
            migrate(ledger)
            free = Quota(rows_per_second=1_000_000)
            with ledger.write() as connection:
                ann, bo = (
                    keyring.create(connection, name, ["score"], "test", free)[0] for name in ("ann", "bo")
                )
                lines.limit(connection, "held", Quota(rows_per_second=10), now_ms(), "test")
        given = {"DATABASE_URL": url, "WORKER": "off", "ALLOW_ANONYMOUS": "true"}
        limits = {"ROWS_PER_SECOND": "10", "SHARED_LIMITS": "true"}
        environment = {f"NEARNORM_{name}": value for name, value in (given | limits).items()}

        def started() -> httpx.Client:
            home = home_with(tmp_path_factory.mktemp("home"), bundle)
            store = ModelStore(home / "models")
            store.activate(store.versions()[0], by="test", model="held")
            _, address = opened.enter_context(process(home, **environment))
            return opened.enter_context(httpx.Client(base_url=address, timeout=60))

        found = Replicas((started(), started()), ann, bo)
        ledger = opened.enter_context(closing(Ledger(url)))
        for one in found.clients:
            until(lambda one=one: waits(one) == 0)  # type: ignore[misc]
        until(lambda: told(ledger) == 2)
        yield found


def told(ledger: Ledger) -> int:
    """How many processes have told of what they let through: they charge what others do since."""
    with ledger.read() as connection:
        return len({process for process, _ in spending.of_others(connection, "no process")})


def waits(client: httpx.Client, rows: int = 1, model: str = "default", key: str | None = None) -> int:
    """For how many seconds so many rows have to wait; 0: they were scored."""
    headers = {} if key is None else {"X-API-Key": key}
    answer = client.post("/score", json={"model": model, "records": [RECORD] * rows}, headers=headers)
    if answer.status_code != 200:
        assert answer.json()["type"].endswith("rate-limited")
    return int(answer.headers.get("retry-after", 0))


def test_replicas_that_share_limits_hold_a_caller_to_one_rate(replicas: Replicas) -> None:
    first, second = replicas.clients
    until(lambda: waits(second) == 0)
    until(lambda: waits(first, 5_000) == 0)
    until(lambda: waits(second) > 60)  # longer than for what it was sent itself


def test_replicas_that_share_limits_hold_a_line_to_one_rate_whoever_asks_it(replicas: Replicas) -> None:
    first, second = replicas.clients
    until(lambda: waits(second, 1, "held", replicas.bo) == 0)
    until(lambda: waits(first, 5_000, "held", replicas.ann) == 0)
    until(lambda: waits(second, 1, "held", replicas.bo) > 60)
    assert waits(second, 100, key=replicas.bo) == 0  # another line

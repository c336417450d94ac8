"""The store's check on a schedule, and by command: on both databases, by real services."""

import re
from collections.abc import Iterator

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.background import Background
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import store_checks
from nearnorm.service.ledger.tables.store_checks import StoreCheck
from nearnorm.service.settings import Settings
from nearnorm.service.upkeep import check
from nearnorm.service.upkeep.check import StoreWatch
from tests.service.commands import Command
from tests.service.running import serving
from tests.service.waiting import until

HOUR = 3600 * 1000


@pytest.fixture
def store(settings: Settings) -> ModelStore:
    return settings.open_store()


@pytest.fixture
def checked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A service that checks its store all the time."""
    monkeypatch.setattr(check, "LOOK_SECONDS", 0.05)
    with serving(create_app(settings.model_copy(update={"verify_hours": 1e-5}))) as client:
        yield client


def damage(store: ModelStore, version: str) -> None:
    (store.root / "versions" / version / "model.onnx").write_bytes(b"rotten")


def told(client: httpx.Client) -> tuple[list[str], float]:
    """Problems, and how many damaged versions the metric has."""
    found = re.search(r"^nearnorm_store_damaged_versions (\S+)$", client.get("/metrics").text, re.M)
    assert found is not None
    return client.get("/readyz").json()["problems"], float(found[1])


def test_damage_is_told_by_readyz_and_metrics_until_the_bundle_is_imported_again(
    checked: httpx.Client, store: ModelStore, other_bundle: Bundle, nearnorm: Command
) -> None:
    version = store.publish(other_bundle.path)
    until(lambda: "nearnorm_store_checked_timestamp_seconds 1.7" in checked.get("/metrics").text)
    assert told(checked) == ([], 0.0)
    damage(store, version)
    until(lambda: told(checked)[1] == 1.0)
    (problem,) = told(checked)[0]
    assert problem.startswith("the model store is damaged: ")
    assert version in problem
    assert checked.get("/readyz").status_code == 200, "what serves is in memory"
    assert nearnorm("models", "import", other_bundle.path).code == 0
    until(lambda: told(checked) == ([], 0.0))


def test_a_champion_whose_file_is_damaged_serves_on_and_is_told(
    checked: httpx.Client, store: ModelStore, payments: Bundle
) -> None:
    damage(store, payments.version)
    until(lambda: told(checked)[1] == 1.0)
    assert checked.get("/readyz").json()["models"][0]["version"] == payments.version


def test_a_check_by_command_tells_all_and_services_learn_of_it(
    ledger: Ledger, settings: Settings, store: ModelStore, other_bundle: Bundle, nearnorm: Command
) -> None:
    assert nearnorm("models", "verify").out == "1 versions are as they were written\n"
    version = store.publish(other_bundle.path)
    damage(store, version)
    found = nearnorm("models", "verify")
    assert found.code == 2
    assert found.out.startswith(f"{version}: ")
    assert "1 of 2 versions are damaged or missing" in found.err
    watch = StoreWatch(ledger, Background(), 24.0)
    watch.look(store)
    assert watch.last is not None
    assert list(watch.last.problems) == [version]
    store.publish(other_bundle.path)
    assert nearnorm("models", "verify", version[:12]).out == "1 versions are as they were written\n"
    watch.look(store)
    assert list(watch.last.problems) == [version], "one version alone is no check of the store"
    assert nearnorm("models", "verify").code == 0
    watch.look(store)
    assert watch.last.problems == {}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was verified."""
    found: list[str] = []
    real = ModelStore.check

    def counted(self: ModelStore, version: str) -> None:
        found.append(version)
        real(self, version)

    monkeypatch.setattr(ModelStore, "check", counted)
    return found


def test_one_process_of_several_checks_and_all_know_what_was_found(
    ledger: Ledger, store: ModelStore, looks: list[str]
) -> None:
    watches = [StoreWatch(ledger, Background(), 24.0) for _ in range(3)]
    for watch in (*watches, *watches):
        watch.look(store)
    assert len(looks) == 1
    found = [watch.last for watch in watches]
    assert found[0] is not None
    assert found[0].ended
    assert found[1:] == found[:2]


@pytest.mark.parametrize(
    ("begun", "ended", "checks"),
    [
        (-1, -25, 1),  # begun an hour ago by a process that died
        (-0.5, -25, 0),  # somebody is at it
        (-23, -23, 0),
        (-25, -25, 1),
        (2, 2, 1),  # by a clock that was put back since
    ],
)
def test_a_check_is_due_a_day_after_the_last_or_when_it_never_ended(
    ledger: Ledger, store: ModelStore, looks: list[str], begun: float, ended: float, checks: int
) -> None:
    now = now_ms()
    last = StoreCheck(check.key(store), now + int(begun * HOUR), now + int(ended * HOUR), 1)
    with ledger.write() as connection:
        store_checks.put(connection, last)
    StoreWatch(ledger, Background(), 24.0).look(store)
    assert len(looks) == checks


def test_of_two_that_saw_the_same_one_begins(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert store_checks.begin(connection, "s", None, 1)
        assert not store_checks.begin(connection, "s", None, 2)
        seen = store_checks.find(connection, "s")
        assert store_checks.begin(connection, "s", seen, 3)
        assert not store_checks.begin(connection, "s", seen, 4)


def test_zero_hours_check_nothing(ledger: Ledger, store: ModelStore) -> None:
    background = Background()
    watch = StoreWatch(ledger, background, 0.0)
    watch.start(store)
    watch.close()
    assert watch.last is None

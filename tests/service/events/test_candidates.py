"""What stands in the queue follows events, verdicts, retention and erasure, on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa
from msgspec.structs import asdict

from nearnorm.service.ids import first_id_at, new_id, now_ms
from nearnorm.service.ledger import migrate
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables.events import candidates, events, retention
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import erasure, labels
from tests.service.ledger.keeping import keep


def event(record: str, score: float = 0.5, at: int | None = None, record_id: str | None = None) -> Event:
    at = now_ms() if at is None else at
    event_id = new_id() if at is None else first_id_at(at)[:10] + new_id()[10:]
    return Event(event_id, at, "default", "v", record_id, record, {}, score, 100 * score, True, 0, True, 1.0)


def say(ledger: Ledger, record: str, label: str = "normal", retracts: str | None = None) -> str:
    said = Label(new_id(), now_ms(), "default", record, label, {}, "ann", "key", retracts=retracts)
    with ledger.write() as connection:
        labels.append(connection, tick(connection, "labels"), [said])
    return said.feedback_id


def standing(ledger: Ledger) -> set[str]:
    with ledger.read() as connection:
        return {c.event_id for c in candidates.ranked(connection, candidates.open_of("default"))}


def test_the_newest_of_equal_records_stands_for_them_in_one_group_or_in_several(ledger: Ledger) -> None:
    now = now_ms()
    old, newer, newest = (event("a", at=now + i) for i in range(3))
    keep(ledger, [newer, old])
    assert standing(ledger) == {newer.event_id}
    keep(ledger, [newest, event("b", at=now - 1)])
    assert newest.event_id in standing(ledger)
    keep(ledger, [old])
    assert len(standing(ledger)) == 2
    assert newest.event_id in standing(ledger)


def test_a_verdict_takes_it_out_and_a_retraction_puts_it_back(ledger: Ledger) -> None:
    first = event("a")
    keep(ledger, [first])
    said = say(ledger, "a")
    assert standing(ledger) == set()
    keep(ledger, [event("a", at=now_ms() + 5)])
    assert standing(ledger) == set()
    say(ledger, "a", "retract", retracts=said)
    assert len(standing(ledger)) == 1


def test_what_was_judged_before_it_was_scored_is_not_offered(ledger: Ledger) -> None:
    say(ledger, "a", "anomaly")
    keep(ledger, [event("a")])
    assert standing(ledger) == set()
    with ledger.read() as connection:
        assert connection.execute(sa.select(candidates.candidates.c.judged)).scalars().all() == [True]


def test_a_verdict_that_the_writer_could_not_see_yet_counts_all_the_same(ledger: Ledger) -> None:
    keep(ledger, [event("a")])
    say(ledger, "a")
    with ledger.write() as connection:
        connection.execute(sa.update(candidates.candidates).values(judged=False))
    assert standing(ledger) == set()


def test_retention_takes_out_what_it_deletes_and_no_more(ledger: Ledger) -> None:
    old = now_ms() - 2_000_000
    keep(ledger, [event("a", at=old), event("b", at=old), event("b")])
    with ledger.write() as connection:
        assert retention.prune_aged(connection, now_ms() - 1_000_000) == 2
    assert len(standing(ledger)) == 1


def test_erasure_takes_out_the_record_and_forgets_its_verdict(ledger: Ledger) -> None:
    mine, other = event("a", record_id="mine"), event("b", record_id="other")
    keep(ledger, [mine, other])
    with ledger.write() as connection:
        assert events.erase_record(connection, "mine") == 1
        erasure.erase_record(connection, "mine")
    assert standing(ledger) == {other.event_id}


@contextmanager
def at_revision(ledger: Ledger, revision: str) -> Iterator[sa.Connection]:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(migrate._SCRIPTS))
    with ledger.write() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)
        yield connection


def _untied(column: sa.Column[Any]) -> sa.ColumnClause[Any]:
    return sa.column(column.name, column.type)


def test_a_ledger_of_an_earlier_release_is_filled_in(empty_url: str | sa.URL) -> None:
    ledger = Ledger(empty_url)
    kept = [event("a", at=1000), event("a", at=2000), event("b"), event("c")]
    with at_revision(ledger, "0002") as connection:
        rows = [asdict(event) | {"record": "{}"} for event in kept]
        for row in rows:
            del row["caller"], row["size"], row["kept"], row["source"]
        columns = [events.events.c[name] for name in rows[0]]
        connection.execute(sa.insert(sa.table("events", *map(_untied, columns))), rows)
        verdict = {"model": "default", "digest": "c", "verdict": "normal", "feedback_id": "f", "at": 0}
        connection.execute(sa.insert(labels.verdicts), [{**verdict, "change": 1}])
    migrate.migrate(ledger)
    assert standing(ledger) == {kept[1].event_id, kept[2].event_id}
    keep(ledger, [event("d")])
    assert len(standing(ledger)) == 3
    ledger.close()


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_migration_may_take_longer_than_a_request(
    empty_url: str | sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(empty_url)
    upgrade = migrate._upgrade

    def slow(connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_sleep(2)))
        upgrade(connection)

    monkeypatch.setattr(migrate, "_upgrade", slow)
    with at_revision(ledger, "0002") as connection:
        driver: Any = connection.connection.driver_connection
    monkeypatch.setattr(driver, "patience", 1.0)
    migrate.migrate(ledger)
    assert driver.patience == 1.0
    ledger.close()

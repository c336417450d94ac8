"""Counts over windows in the ledger, on SQLite and PostgreSQL: the history's numbers, and nobody else's."""

import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from nearnorm.models.aggregates.declaration import SECOND, Aggregates
from nearnorm.models.aggregates.events import event_of
from nearnorm.models.aggregates.history import as_columns, history_numbers, read_history
from nearnorm.models.aggregates.key_events import KeyedEvent, Row
from nearnorm.service import counting
from nearnorm.service.access.erasure import Reach, forget_record
from nearnorm.service.batch.aggregate_file import aggregate_file
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger, ledger_url
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables import aggregate_keys
from tests.models.aggregates.declarations import payments
from tests.service.ledger.servers import postgres_server

BEGIN = 1_700_000_000


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    if request.param == "SQLite":
        ledger = Ledger(ledger_url(None, tmp_path_factory.mktemp("home")))
        migrate(ledger)
        yield ledger
        ledger.close()
    else:
        with postgres_server() as server:
            ledger = Ledger(server.uri)
            migrate(ledger)
            yield ledger
            ledger.close()


@pytest.fixture
def ledger(database: Ledger) -> Ledger:
    """With nothing kept."""
    with database.write() as connection:
        connection.execute(sa.delete(aggregate_keys.aggregate_keys))
    return database


def declared(late: str = "0s") -> Aggregates:
    return Aggregates.of_table(payments(late).model_dump(mode="json") | {"format": "epoch s"}, "schema.toml")


def made(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)  # noqa: S311 - for a made history
    return [
        {
            "at": BEGIN + rng.randrange(5_000),
            "payment": f"p{i}",
            "card": f"c{rng.randrange(12)}",
            "merchant": f"m{rng.randrange(4)}",
            "amount": round(rng.lognormvariate(3, 1), 2),
        }
        for i in range(count)
    ]


def whole(records: list[dict[str, Any]], aggregates: Aggregates) -> list[Row]:
    """The numbers as `nearnorm aggregate` writes them."""
    table = pa.Table.from_pylist(records)
    numbers = history_numbers(read_history([table], aggregates, "x"), aggregates, now_ms() * 1_000)
    return [
        list(row)
        for row in zip(*(c.to_pylist() for c in as_columns(numbers, aggregates).values()), strict=True)
    ]


def events(records: Sequence[dict[str, Any]], aggregates: Aggregates) -> list[KeyedEvent]:
    return [event_of(record, aggregates) for record in records]


def count(
    ledger: Ledger, records: Sequence[dict[str, Any]], aggregates: Aggregates, model: str = "m"
) -> list[Row]:
    with ledger.write() as connection:
        return counting.count_in(connection, model, aggregates, events(records, aggregates)).rows


def test_batches_that_are_undone_or_come_twice_give_the_numbers_of_the_whole_history(ledger: Ledger) -> None:
    aggregates, rng = declared("60s"), random.Random(1)  # noqa: S311
    records = made(600)
    came = sorted(records, key=lambda r: (r["at"] + rng.randrange(60), r["payment"]))
    expected = dict(zip((r["payment"] for r in records), whole(records, aggregates), strict=True))
    at = 0
    while at < len(came):
        batch = came[at : at + rng.randrange(1, 90)]
        if rng.random() < 0.3:  # killed before it was stored
            with ledger.attempt() as connection:
                counting.count_in(connection, "m", aggregates, events(batch, aggregates))
        for record, row in zip(batch, count(ledger, batch, aggregates), strict=True):
            assert row == expected[record["payment"]]
        if rng.random() < 0.7:  # else killed after it
            at += len(batch)


def test_a_stream_goes_on_from_where_the_history_ends(ledger: Ledger, tmp_path: Path) -> None:
    aggregates = declared("60s")
    records = sorted(made(300), key=lambda r: (r["at"], r["payment"]))
    expected = whole(records, aggregates)
    count(ledger, records[140:160], aggregates)  # came before the history was taken over
    pq.write_table(pa.Table.from_pylist(records[:150]), tmp_path / "history.parquet")
    with counting.taking_over(ledger, "m", aggregates) as ended:
        source, out = str(tmp_path / "history.parquet"), tmp_path / "counted.parquet"
        aggregate_file(source, aggregates, out, now_ms() * 1_000, ended=ended)
    assert count(ledger, records[150:], aggregates) == expected[150:]


def test_several_who_count_at_once_lose_nothing(ledger: Ledger) -> None:
    aggregates, records = declared(), made(200)
    parts = [records[i::4] for i in range(4)]

    def work(part: list[dict[str, Any]]) -> None:
        for start in range(0, len(part), 10):
            count(ledger, part[start : start + 10], aggregates)

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = made(1)[0] | {"at": BEGIN + 5_001, "payment": "after"}
    expected = whole([*records, after], aggregates)[-1]
    with ledger.read() as connection:
        assert counting.look_up(connection, "m", aggregates, events([after], aggregates)) == [expected]


def test_who_only_looks_counts_nothing(ledger: Ledger) -> None:
    aggregates, records = declared(), made(3)
    with ledger.read() as connection:
        rows = counting.look_up(connection, "m", aggregates, events(records, aggregates))
    assert [row[0] for row in rows] == [0, 0, 0]
    with ledger.read() as connection:
        assert not connection.execute(sa.select(aggregate_keys.aggregate_keys)).all()


def test_lines_count_for_themselves(ledger: Ledger) -> None:
    aggregates, record = declared(), made(1)[0]
    later = record | {"payment": "later", "at": record["at"] + 10}
    count(ledger, [record], aggregates, "payments")
    assert count(ledger, [later], aggregates, "payments")[0][0] == 1
    assert count(ledger, [later], aggregates, "cards")[0][0] == 0


def test_a_key_is_kept_as_long_as_its_window_and_a_day(ledger: Ledger) -> None:
    aggregates = declared("60s")
    count(ledger, made(5), aggregates)
    kept = 1_000 * (3_600 + 2 * 60 + 86_400)
    for now, is_left in ((now_ms() + kept - 60_000, True), (now_ms() + kept + 60_000, False)):
        with ledger.write() as connection:
            aggregate_keys.prune(connection, now)
            assert bool(connection.execute(sa.select(aggregate_keys.aggregate_keys)).all()) is is_left


def test_no_name_is_kept(ledger: Ledger) -> None:
    record = made(1)[0] | {"card": "4111111111111111", "merchant": "Corner shop", "payment": "order-of-mei"}
    count(ledger, [record], declared())
    with ledger.read() as connection:
        kept = repr(connection.execute(sa.select(aggregate_keys.aggregate_keys)).all())
    assert not any(name in kept for name in ("4111111111111111", "Corner", "order-of"))


def test_forgetting_an_id_takes_it_from_every_key_of_the_lines_that_are_seen(ledger: Ledger) -> None:
    aggregates, record = declared(), made(1)[0]
    later = record | {"payment": "later", "at": record["at"] + 10}
    for model in ("payments", "cards"):
        count(ledger, [record], aggregates, model)
    forget_record(ledger, record["payment"], "mei", reach=Reach(lines=SeenLines.of(["payments"])))
    assert [count(ledger, [later], aggregates, model)[0] for model in ("payments", "cards")] == [
        [0, 0.0, 0, None, 0],
        [1, record["amount"], 1, 10.0, 1],
    ]


def test_forgetting_a_keys_name_takes_all_that_is_kept_of_it(ledger: Ledger) -> None:
    aggregates, record = declared(), made(1)[0]
    count(ledger, [record], aggregates)
    forget_record(ledger, record["card"], "mei")
    later = record | {"payment": "later", "at": record["at"] + 10}
    assert count(ledger, [later], aggregates)[0] == [0, 0.0, 0, None, 1]


def test_times_are_counted_in_microseconds() -> None:
    assert event_of(made(1)[0] | {"at": BEGIN + 0.000001}, declared()).time == BEGIN * SECOND + 1

"""Generated payments: in order, with what a bank knows at that moment, and no word of the truth."""

import tomllib
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped]

from examples.payments.history import START, Week, weeks
from examples.payments.story import SCHEMA
from examples.service import nearnorm


def test_the_schema_of_payments_is_what_inspect_writes_but_for_card_and_merchant(tmp_path: Path) -> None:
    pd.DataFrame(calendar()[0].records).to_csv(tmp_path / "week.csv", index=False)
    nearnorm(tmp_path, "inspect", tmp_path / "week.csv", "--write", tmp_path / "schema.toml")
    written, ours = (tomllib.loads(path.read_text())["schema"] for path in (tmp_path / "schema.toml", SCHEMA))
    assert {name for name in ours if ours[name] != written.get(name)} == {"card", "merchant"}
    assert set(ours) == set(written)


def calendar() -> list[Week]:
    return weeks(3, card_count=150, thefts=6, new_way_from=2, seed=1)


def test_a_calendar_is_in_the_order_of_time_and_tells_of_a_card_only_what_was_before() -> None:
    made = calendar()
    records = [record for week in made for record in week.records]
    times = [record["booked_at"] for record in records]
    assert times == sorted(times)
    assert times[0] >= START.isoformat()
    assert len({record["payment"] for record in records}) == len(records)
    shops: dict[str, set[str]] = {}
    for record in records:
        seen = shops.setdefault(record["card"], set())
        if record["new_merchant"]:
            assert record["merchant"] not in seen
        seen.add(record["merchant"])
        assert record["minutes_since_last"] is None or record["minutes_since_last"] >= 0


def test_wallets_are_lost_from_their_week_on_and_no_record_tells_that_a_payment_is_stolen() -> None:
    made = calendar()
    assert ["found" in week.fraud for week in made] == [False, False, True]
    assert all("fraud" not in record and "label" not in record for week in made for record in week.records)
    assert [week.records for week in calendar()] == [week.records for week in made]

"""Equal records and how they are told: the key on the hot path and the digest in the ledger."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nearnorm.models.data.digest import record_digest
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.service.feedback.matching import Matches
from nearnorm.service.ledger.tables.feedback.labels import Standing
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope
from tests.service.bundles import PAYMENTS

ENCODER = Encoder(PAYMENTS, 1000)

numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))
records = st.fixed_dictionaries(
    {"amount": numbers, "channel": st.one_of(st.sampled_from(["web", "shop"]), st.text(max_size=3))},
    optional={
        "epoch": st.one_of(st.none(), numbers),
        "new device": st.one_of(st.none(), st.booleans()),
        "country": st.one_of(st.none(), st.sampled_from(["DE", "XA", "XB", "7"])),
        "transaction id": st.text(max_size=5),
    },
)


def standing(
    record: dict[str, Any], verdict: str = "anomaly", change: int = 1, schema: FeatureSchema = PAYMENTS
) -> Standing:
    """As the ledger gives it: the record as the model read it."""
    encoder = ENCODER if schema is PAYMENTS else Encoder(schema, 10)
    values = encoder.record(encoder.encode(Envelope(records=[record])), 0)
    text = json.dumps(values, ensure_ascii=False)
    return Standing(record_digest(values), verdict, "f", 0, change, text)  # type: ignore[arg-type]


def found(matches: Matches, *sent: dict[str, Any]) -> list[int]:
    return sorted(matches.find(PAYMENTS, ENCODER.encode(Envelope(records=list(sent)))))


@given(st.lists(records, min_size=1, max_size=8), st.data())
def test_a_batch_matches_exactly_the_rows_whose_digest_is_confirmed(
    sent: list[dict[str, Any]], data: st.DataObject
) -> None:
    confirmed = standing(data.draw(st.sampled_from(sent)))
    matches = Matches()
    matches.prepare(PAYMENTS)
    matches.learn([confirmed])
    assert found(matches, *sent) == [i for i, r in enumerate(sent) if standing(r).digest == confirmed.digest]


def test_zeros_of_both_signs_are_one_number_and_every_missing_value_is_the_same() -> None:
    base = {"amount": 0.0, "channel": "web"}
    assert standing(base).digest == standing(base | {"amount": -0.0, "epoch": None}).digest
    matches = Matches()
    matches.learn([standing(base)])
    assert found(matches, base | {"amount": -0.0}, base | {"epoch": None}, base | {"epoch": 0}) == [0, 1]


def test_a_nan_of_another_spelling_is_missing_too() -> None:
    matches = Matches()
    matches.learn([standing({"amount": 1, "channel": "web"})])
    encoded = ENCODER.encode(Envelope(records=[{"amount": 1, "channel": "web"}]))
    encoded.rows.numeric = encoded.rows.numeric.copy()
    encoded.rows.numeric[np.isnan(encoded.rows.numeric)] = math.copysign(math.nan, -1)
    assert list(matches.find(PAYMENTS, encoded)) == [0]


def test_a_verdict_outlives_a_model_whose_columns_changed() -> None:
    matches = Matches()
    matches.prepare(PAYMENTS)
    matches.learn([standing({"amount": 5, "channel": "web", "country": "DE"})])
    amount = Feature(name="amount", kind=Kind.NUMERIC)
    country = Feature(name="country", kind=Kind.CATEGORICAL, categories=("NL", "DE"))
    other = FeatureSchema(features=(country, amount))
    encoded = Encoder(other, 10).encode(Envelope(records=[{"amount": 5, "country": c} for c in ("NL", "DE")]))
    assert list(matches.find(other, encoded)) == [1]


def one(kind: Kind, **given: Any) -> FeatureSchema:
    """The column `x` and a number."""
    return FeatureSchema(
        features=(Feature(name="n", kind=Kind.NUMERIC), Feature(name="x", kind=kind, **given))
    )


@pytest.mark.parametrize(
    ("before", "value", "after", "sent"),
    [
        (Kind.NUMERIC, 5411, Kind.CATEGORICAL, [5411, 5411.0, "5411"]),
        (Kind.NUMERIC, 0.5, Kind.CATEGORICAL, ["0.5"]),
        (Kind.BOOLEAN, True, Kind.CATEGORICAL, [True, "true"]),
        (Kind.CATEGORICAL, "7", Kind.NUMERIC, [7, "7", 7.0]),
        (Kind.CATEGORICAL, "true", Kind.BOOLEAN, [True, 1]),
        (Kind.BOOLEAN, False, Kind.NUMERIC, [0, False]),
        (Kind.NUMERIC, 1, Kind.BOOLEAN, [True]),
        (Kind.CATEGORICAL, None, Kind.NUMERIC, [None]),
    ],
)
def test_where_the_kind_of_a_column_changed_a_verdict_acts_by_the_coercions_of_a_score(
    before: Kind, value: Any, after: Kind, sent: list[Any]
) -> None:
    matches, new = Matches(), one(after)
    matches.learn([standing({"n": 1, "x": value}, schema=one(before))])
    matches.prepare(new)
    records = [*({"n": 1, "x": x} for x in sent), {"n": 1, "x": "0"}, {"n": 2, "x": sent[0]}]
    encoded = Encoder(new, 10).encode(Envelope(records=records))
    last = {len(sent)} if value is False else set()
    assert set(matches.find(new, encoded)) == set(range(len(sent))) | last
    assert matches.unfit(new) == 0


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (Kind.CATEGORICAL, "A1", Kind.NUMERIC),
        (Kind.CATEGORICAL, "nan", Kind.NUMERIC),
        (Kind.CATEGORICAL, "", Kind.NUMERIC),
        (Kind.CATEGORICAL, "maybe", Kind.BOOLEAN),
        (Kind.NUMERIC, 2, Kind.BOOLEAN),
    ],
)
@pytest.mark.parametrize("learnt_first", [True, False])
def test_a_verdict_on_a_value_that_does_not_fit_acts_on_nothing_and_is_counted(
    before: Kind, value: Any, after: Kind, learnt_first: bool
) -> None:
    matches, old, new = Matches(), one(before), one(after)
    verdict = standing({"n": 1, "x": value}, schema=old)
    if learnt_first:
        matches.learn([verdict])
    matches.prepare(new)
    matches.learn([verdict])
    records = [{"n": 1}, {"n": 1, "x": None}, {"n": 1, "x": 0}]
    assert matches.find(new, Encoder(new, 10).encode(Envelope(records=records))) == {}
    assert matches.unfit(new) == 1
    encoded = Encoder(old, 10).encode(Envelope(records=[{"n": 1, "x": value}]))
    assert list(matches.find(old, encoded)) == [0], "in its own version it acts"
    matches.learn([replace(verdict, verdict="none", change=2)])
    assert matches.unfit(new) == 0


def test_a_verdict_does_not_speak_of_columns_that_its_record_had_not() -> None:
    matches, new = Matches(), one(Kind.NUMERIC)
    only = FeatureSchema(features=(Feature(name="n", kind=Kind.NUMERIC),))
    matches.learn([standing({"n": 1}, schema=only)])
    encoded = Encoder(new, 10).encode(Envelope(records=[{"n": 1}, {"n": 1, "x": 3}, {}]))
    assert matches.find(new, encoded) == {}
    assert matches.unfit(new) == 1


def test_a_record_of_which_another_model_reads_nothing_is_matched_by_nothing() -> None:
    other = FeatureSchema(features=(Feature(name="epoch", kind=Kind.NUMERIC),))
    matches = Matches()
    matches.learn([standing({"amount": 1, "channel": "web"})])  # without an epoch
    assert matches.find(other, Encoder(other, 10).encode(Envelope(records=[{}, {"epoch": None}]))) == {}
    assert matches.unfit(other) == 1


def test_thousands_of_records_that_a_model_does_not_tell_apart_are_read_twice_and_not_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = 0
    encode = Encoder.encode

    def counted(self: Encoder, sent: Envelope) -> Encoded:
        nonlocal read
        assert isinstance(sent.records, list)
        read += len(sent.records)
        return encode(self, sent)

    record = {"amount": 1.0, "epoch": None, "new device": None, "country": None, "channel": "web"}
    alike = [record | {"a column that is gone": number} for number in range(3_000)]
    said = [Standing(record_digest(one), "normal", "f", 0, 1, json.dumps(one)) for one in alike]
    matches = Matches()
    matches.prepare(PAYMENTS)
    monkeypatch.setattr(Encoder, "encode", counted)
    matches.learn(said)
    assert read == 6_000
    matches.learn([replace(said[0], verdict="anomaly", change=2)])
    assert read == 6_002
    (found,) = matches.find(PAYMENTS, encode(ENCODER, Envelope(records=[record]))).values()
    assert found.verdict == "conflict"


def test_of_records_that_a_model_does_not_tell_apart_a_conflict_decides_nothing() -> None:
    country = FeatureSchema(features=(Feature(name="country", kind=Kind.CATEGORICAL, categories=("DE",)),))
    matches = Matches()
    matches.prepare(country)
    encoded = Encoder(country, 10).encode(Envelope(records=[{"country": "DE"}]))

    def verdict() -> str:
        return matches.find(country, encoded)[0].verdict

    first = standing({"amount": 1, "channel": "web", "country": "DE"})
    second = standing({"amount": 2, "channel": "web", "country": "DE"}, change=2)
    matches.learn([first, second])
    assert verdict() == "anomaly"
    matches.learn([replace(second, verdict="normal", change=3)])
    assert verdict() == "conflict"
    own = standing({"country": "DE"}, "normal", change=4, schema=country)
    matches.learn([own])
    assert verdict() == "normal", "given for this very version"
    matches.learn([replace(own, verdict="none", change=5), replace(first, verdict="none", change=6)])
    assert verdict() == "normal"
    matches.learn([replace(second, verdict="none", change=7)])
    assert matches.find(country, encoded) == {}


@pytest.mark.parametrize("record", ["", "[]", "{", '{"amount": 1e999}', '{"amount": [1], "channel": 1}'])
def test_nothing_in_the_ledger_ends_the_service(record: str) -> None:
    matches = Matches()
    matches.prepare(PAYMENTS)
    matches.learn([Standing("d", "anomaly", "f", 0, 1, record)])
    assert found(matches, {"amount": 1, "channel": "web"}) == []
    assert matches.unfit(PAYMENTS) == 1


def test_a_verdict_that_was_taken_back_matches_no_more_and_old_news_changes_nothing() -> None:
    record = {"amount": 1, "channel": "web"}
    matches = Matches()
    matches.prepare(PAYMENTS)
    matches.learn([standing(record, "anomaly", change=1)])
    matches.learn([standing(record, "none", change=3)])
    matches.learn([standing(record, "anomaly", change=2)])
    assert found(matches, record) == []
    matches.learn([standing(record, "normal", change=4)])
    assert found(matches, record) == [0]


def test_an_erased_record_matches_no_more_although_its_values_are_gone() -> None:
    record = {"amount": 1, "channel": "web"}
    known = standing(record)
    matches = Matches()
    matches.prepare(PAYMENTS)
    matches.learn([known])
    matches.learn([Standing(known.digest, "none", "f", 0, 2, "{}")])
    assert found(matches, record) == []

"""Equal records and how they are told: the key on the hot path and the digest in the ledger."""

import json
import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nearnorm.models.digest import record_digest
from nearnorm.models.schema import Feature, FeatureSchema, Kind
from nearnorm.service.feedback.matching import Matches
from nearnorm.service.ledger.tables.labels import Standing
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


def standing(record: dict[str, Any], verdict: str = "anomaly", change: int = 1) -> Standing:
    """As the ledger gives it: the record as the model read it."""
    encoded = ENCODER.encode(Envelope(records=[record]))
    values = ENCODER.record(encoded, 0)
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

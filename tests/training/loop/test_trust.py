"""The trust set is fixed by records, begins when it is large enough, and believes no single new word."""

import dataclasses
import hashlib

import numpy as np
import pytest
from msgspec.structs import replace

from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.dataset.load import Dataset, load
from nearnorm.training.loop.trust import FEWEST, SHARE, draw, is_drawn
from tests.training.conftest import PAYMENTS


@pytest.fixture(scope="module")
def payments() -> Dataset:
    return load(str(PAYMENTS), "label")


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def verdicts(count: int, known: bool = False, key: str | None = "soc") -> list[Verdict]:
    return [Verdict(digest(i), str(i), True, {}, 1.0, known, key) for i in range(count)]


def told(data: Dataset, count: int) -> tuple[Dataset, np.ndarray]:
    """Data in which the first unlabelled rows are anomalies by verdict, and no other row is labelled."""
    labels = np.full(len(data.labels), UNLABELLED, np.int8)
    labels[:count] = ANOMALY
    return dataclasses.replace(data, labels=labels), np.arange(count)


def test_about_a_quarter_of_the_records_are_drawn_whatever_the_model() -> None:
    drawn = [is_drawn(digest(i)) for i in range(4_000)]
    assert abs(sum(drawn) / 4_000 - SHARE) < 0.03
    assert drawn == [is_drawn(digest(i)) for i in range(4_000)]


def test_the_trust_set_begins_when_it_has_enough_trusted_anomalies(payments: Dataset) -> None:
    enough = next(n for n in range(1, 1_000) if sum(is_drawn(digest(i)) for i in range(n)) == FEWEST)
    for count, begins in ((enough - 1, False), (enough, True)):
        data, place = told(payments, count)
        held_out = draw(data, place, verdicts(count, known=True)).held_out
        assert bool(held_out.any()) is begins
        if begins:
            assert np.flatnonzero(held_out).tolist() == [i for i in range(count) if is_drawn(digest(i))]


def test_what_the_champion_knew_or_two_keys_say_is_trusted_and_shared_is_the_latter_alone(
    payments: Dataset,
) -> None:
    data, place = told(payments, 3)
    for said, is_shared in ((verdicts(3, known=True), False), (verdicts(3, key=None), True)):
        trust = draw(data, place, said)
        assert trust.trusted[:3].all()
        assert (trust.shared[:3] == is_shared).all()


def test_where_several_keys_label_one_weighs_no_more_than_what_is_shared(payments: Dataset) -> None:
    data, place = told(payments, 100)
    alone = verdicts(100, known=True)
    assert (draw(data, place, alone).weight == 1).all(), "who is alone is believed"
    shared = [replace(v, key=None) for v in alone[:10]]
    others = [replace(v, key="ann") for v in alone[10:20]]
    weight = draw(data, place, [*shared, *others, *alone[20:]]).weight
    assert (weight[:20] == 1).all()
    assert weight[20:100] == pytest.approx(10 / 80)


def test_a_new_word_of_one_labeller_is_not_trusted_and_begins_no_trust_set(payments: Dataset) -> None:
    data, place = told(payments, 200)
    trust = draw(data, place, verdicts(200))
    assert not trust.trusted[:200].any()
    assert not trust.held_out.any()


def test_labels_of_the_base_data_are_trusted_until_somebody_says_otherwise(payments: Dataset) -> None:
    row = int(np.flatnonzero(payments.labels == ANOMALY)[0])
    assert draw(payments, np.zeros(0, int), []).trusted[row]
    assert not draw(payments, np.array([row]), verdicts(1)).trusted[row]

"""Whose words are held against the others', and when those contradict them."""

import numpy as np
import pytest

from nearnorm.models.retraining import Verdict
from nearnorm.training.loop.suspect import DEEPER, FEWEST, suspects, times_as_deep


def say(key: str | None, anomaly: bool, *, known: bool = False) -> Verdict:
    return Verdict("d", "f", anomaly, {}, 1.0, known, key)


def test_whose_anomalies_lie_deeper_than_those_of_the_others() -> None:
    said = [say("soc", True), say("soc", True), say("eve", True), say("eve", True)]
    assert suspects(said, np.array([0.99, 0.99, 0.95, 0.96])) == ["eve", "soc"]


def test_whose_normals_lie_higher_than_those_of_the_others() -> None:
    said = [say("soc", False), say("soc", True), say("eve", False), say("eve", False)]
    assert suspects(said, np.array([0.9, 0.99, 0.999, 0.999])) == ["eve", "soc"]


def test_one_who_finds_much_at_the_top_is_no_suspect_beside_one_who_plants_little_below() -> None:
    said = [*[say("soc", True)] * 40, *[say("soc", False)] * 5, *[say("eve", True)] * 5]
    assert suspects(said, np.array([0.995] * 45 + [0.95] * 5)) == ["eve", "soc"]


def test_nobody_where_nobody_else_ever_labelled_or_nothing_is_new() -> None:
    rank = np.array([0.99, 0.95])
    assert suspects([say("eve", True), say("eve", True)], rank) == []
    assert suspects([say("soc", True, known=True), say("eve", True, known=True)], rank) == []
    assert suspects([], np.zeros(0)) == []
    assert suspects([say(None, True), say("eve", True)], rank) == ["eve"], "what two say is another's"
    assert suspects([say("soc", True, known=True), say("eve", True)], rank) == ["eve"]


OTHERS = 1 - np.geomspace(0.01, 0.05, 20)


def test_anomalies_that_lie_surely_deeper_than_the_others_are_contradicted_by_so_many_times() -> None:
    assert times_as_deep(1 - 4 * (1 - OTHERS), OTHERS) == pytest.approx(4.0)
    assert times_as_deep(OTHERS, OTHERS) is None
    assert times_as_deep(1 - (DEEPER - 0.05) * (1 - OTHERS), OTHERS) is None, "a little deeper is no wonder"


def test_what_may_be_chance_is_no_contradiction() -> None:
    uneven = np.array([0.99, 0.99, 0.2])
    assert np.log(1 - uneven).mean() > np.log(DEEPER) + np.log(1 - OTHERS).mean()
    assert times_as_deep(uneven, OTHERS) is None
    assert times_as_deep(np.tile(uneven, 30), OTHERS) is not None


def test_how_high_in_the_highest_hundredth_does_not_matter() -> None:
    assert times_as_deep(np.full(20, 0.991), np.full(20, 0.9999)) is None


def test_few_anomalies_contradict_nothing() -> None:
    deep = np.full(FEWEST, 0.5)
    assert times_as_deep(deep, OTHERS) is not None
    assert times_as_deep(deep[1:], OTHERS) is None
    assert times_as_deep(deep, OTHERS[:9]) is None

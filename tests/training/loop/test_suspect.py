"""Whom a refused challenger is tried without: who surprises the champion more than others do."""

import numpy as np

from nearnorm.models.retraining import Verdict
from nearnorm.training.loop.suspect import suspect


def say(key: str | None, anomaly: bool, *, known: bool = False) -> Verdict:
    return Verdict("d", "f", anomaly, {}, 1.0, known, key)


def test_whose_anomalies_lie_deeper_than_those_of_the_others() -> None:
    said = [say("soc", True), say("soc", True), say("eve", True), say("eve", True)]
    assert suspect(said, np.array([0.99, 0.99, 0.95, 0.96])) == "eve"


def test_whose_normals_lie_higher_than_those_of_the_others() -> None:
    said = [say("soc", False), say("soc", True), say("eve", False), say("eve", False)]
    assert suspect(said, np.array([0.9, 0.99, 0.999, 0.999])) == "eve"


def test_one_who_finds_much_at_the_top_is_no_suspect_beside_one_who_plants_little_below() -> None:
    said = [*[say("soc", True)] * 40, *[say("soc", False)] * 5, *[say("eve", True)] * 5]
    assert suspect(said, np.array([0.995] * 45 + [0.95] * 5)) == "eve"


def test_nobody_where_no_other_key_said_anything_new() -> None:
    rank = np.array([0.99, 0.95])
    assert suspect([say("eve", True), say("eve", True)], rank) is None
    assert suspect([say("soc", True, known=True), say("eve", True)], rank) is None
    assert suspect([], np.zeros(0)) is None
    assert suspect([say(None, True), say("eve", True)], rank) == "eve", "what two keys say is another's too"

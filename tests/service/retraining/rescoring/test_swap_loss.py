"""A loss after a swap is clear or there is none, and no labeller decides alone where several label."""

from nearnorm.service.retraining.rescoring.swap_loss import (
    FEWEST,
    FEWEST_ALERTS,
    Judged,
    is_one_labellers_word,
    loss,
    too_many_alerts,
)


def anomalies(count: int, new: float, old: float, key: str | None = "soc") -> list[Judged]:
    return [Judged(True, new, old, True, True, key) for _ in range(count)]


def alerts(right: int, wrong: int, old_alerts: bool, key: str | None = "soc") -> list[Judged]:
    return [Judged(i < right, 0.999, 0.999, True, old_alerts, key) for i in range(right + wrong)]


def test_confirmed_anomalies_that_lie_clearly_deeper_are_a_loss() -> None:
    told = loss(anomalies(FEWEST, 0.8, 0.9))
    assert told == ("10 anomalies that were confirmed since lie 100% deeper than by the version before")
    assert loss(anomalies(FEWEST - 1, 0.8, 0.9)) is None, "too few to tell"
    assert loss(anomalies(FEWEST, 0.89, 0.9)) is None, "within the margin"
    assert loss(anomalies(FEWEST, 0.9, 0.8)) is None
    by_turns = [Judged(True, *pair, True, True, "soc") for pair in ((0.5, 0.99), (0.99, 0.6))] * FEWEST
    assert loss(by_turns) is None, "chance"


def test_alerts_that_it_alone_raises_and_that_are_hardly_ever_right_are_a_loss() -> None:
    both, gained = alerts(8, 4, old_alerts=True), alerts(1, 29, old_alerts=False)
    assert loss([*both, *gained]) == (
        "of 30 judged alerts that the version before would not have raised 1 are right, of 12 that both "
        "raise 8"
    )
    assert loss([*both, *alerts(18, 12, old_alerts=False)]) is None
    assert loss([*both, *alerts(0, 11, old_alerts=False)]) is None, "most alerts are those of both"
    assert loss([*alerts(1, 29, old_alerts=True), *alerts(1, 39, old_alerts=False)]) is None, "as before"
    assert loss(gained) is None, "nothing to compare with"


def test_what_stands_without_the_words_of_any_one_labeller_is_not_one_labellers_word() -> None:
    deep, key = anomalies(FEWEST, 0.8, 0.9), "eve"
    assert is_one_labellers_word(deep)
    assert is_one_labellers_word([*deep, *anomalies(FEWEST - 1, 0.8, 0.9, key)])
    assert not is_one_labellers_word([*deep, *anomalies(FEWEST, 0.8, 0.9, key)])
    assert not is_one_labellers_word(anomalies(FEWEST, 0.8, 0.9, None)), "two said so"


def test_twice_the_alerts_on_the_same_traffic_are_told_and_a_few_more_are_not() -> None:
    assert too_many_alerts(100, 40) == "it raises 100 alerts where the version before would have raised 40"
    assert too_many_alerts(70, 40) is None
    assert too_many_alerts(FEWEST_ALERTS - 1, 0) is None

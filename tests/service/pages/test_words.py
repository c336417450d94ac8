"""What pages say in words of their own."""

from nearnorm.service.pages.frame.words import count, expected, things


def test_beside_a_time_the_range_of_a_group_is_said_to_be_one_of_hours() -> None:
    profile = {"low": -2.0, "median": 0.25, "high": 9.5, "missing": 0.0}
    assert expected(profile, of_hours=True) == "hours from 22:00 to 09:30, mostly 00:15"
    assert expected(profile) == "-2 to 9.5, mostly 0.25"


def test_few_things_have_two_figures_and_are_never_rounded_to_none() -> None:
    shown = [count(value) for value in (0.0, 0.0333, 0.05, 3.14159, 9.96, 12.5, 3587.0)]
    assert shown == ["0", "0.033", "0.05", "3.1", "10", "12", "3,587"]


def test_one_thing_is_not_said_to_be_several() -> None:
    assert [things(count(value), "verdict") for value in (0, 1, 1.04, 1.4, 2)] == [
        "0 verdicts",
        "1 verdict",
        "1 verdict",
        "1.4 verdicts",
        "2 verdicts",
    ]
    assert [things(shown, "anomaly", "anomalies") for shown in ("1", "1,000")] == [
        "1 anomaly",
        "1,000 anomalies",
    ]

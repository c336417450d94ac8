"""What pages say in words of their own."""

from nearnorm.service.pages.frame.words import expected


def test_beside_a_time_the_range_of_a_group_is_said_to_be_one_of_hours() -> None:
    profile = {"low": -2.0, "median": 0.25, "high": 9.5, "missing": 0.0}
    assert expected(profile, "2026-03-08T00:00:00") == "hours from 22:00 to 09:30, mostly 00:15"
    assert expected(profile, 7.0) == "-2 to 9.5, mostly 0.25"

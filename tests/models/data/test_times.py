import pickle
import re
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnorm.models.data.clock import around, as_compared, hours, middle_hour
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind, TimeColumns
from nearnorm.models.data.times import TimeFormat, reader, spelled

NOON = 1_769_853_600.0  # 31 January 2026, 10:00 UTC


@pytest.mark.parametrize(
    ("form", "value", "seconds"),
    [
        ("iso", "2026-01-31T10:00:00Z", NOON),
        ("iso", "2026-01-31 12:00:00 +02:00", NOON),
        ("iso", "2026-01-31T04:30-0530", NOON),
        ("iso", "2026-01-31T10:00:00.25", NOON + 0.25),
        ("iso", "2026/1/31", NOON - 36_000),
        ("dmy", "31.01.2026 10:00", NOON),
        ("dmy", "31/1/26, 10:00:00 AM", NOON),
        ("dmy", "31-Jan-26", NOON - 36_000),
        ("dmy", "31 January 2026 10:00", NOON),
        ("dmy", "2026-01-31T10:00:00Z", NOON),
        ("mdy", "01/31/2026 10:00", NOON),
        ("mdy", "Jan 31, 2026", NOON - 36_000),
        ("dmy", "Sat, 31 Jan 2026 10:00:00 +0000", NOON),
        ("dmy", "31/Jan/2026:12:00:00 +0200", NOON),
        ("dmy", "saturday, 31 january 2026 10:00", NOON),
        ("mdy", "Sat Jan 31 10:00:00 2026", NOON),
        ("mdy", "Sat Jan 31 10:00:00 UTC 2026", NOON),
        ("mdy", "Sat Jan 31 2026 09:00:00 GMT-0100 (Azores Time)", NOON),
        ("ymd", "20260131T100000Z", NOON),
        ("ymd", "20260131T1200+02:00", NOON),
        ("ymd", 20260131100000, NOON),
        ("excel", 46053, NOON - 36_000),
        ("excel", "46053.4166666667", NOON),
        ("ymd", "26-01-31", NOON - 36_000),
        ("ymd", 20260131, NOON - 36_000),
        ("clock", "10:00", 36_000.0),
        ("clock", "12:00:30 am", 30.0),
        ("epoch s", 1_769_853_600, NOON),
        ("epoch s", "1769853600.5", NOON + 0.5),
        ("epoch ms", 1_769_853_600_250, NOON + 0.25),
        ("epoch us", 1_769_853_600_000_000, NOON),
        ("epoch ns", 1_769_853_600_000_000_999, NOON),
        ("epoch ms", "2026-01-31T10:00:00Z", NOON),
        ("dmy", "31-12-68", (date(2068, 12, 31) - date(1970, 1, 1)).days * 86_400.0),
        ("dmy", "31-12-69", -86_400.0),
    ],
)
def test_times_are_read_as_people_and_programs_write_them(form: str, value: object, seconds: float) -> None:
    assert reader(TimeFormat(form), "")(value) == seconds


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("iso", 1_769_853_600),
        ("iso", "31.01.2026"),
        ("iso", "2026-02-30"),
        ("iso", "10:00"),
        ("dmy", "01/31/2026"),
        ("dmy", "31-Foo-26"),
        ("mdy", "31/01/2026"),
        ("clock", "25:00"),
        ("excel", -1),
        ("excel", 3_000_000),
        ("ymd", "20260131T250000"),
        ("mdy", "Sat Jan 31 10:00:00"),
        ("clock", "13:00 pm"),
        ("epoch s", "soon"),
        ("epoch s", True),
        ("epoch s", 1e300),
        ("epoch s", float("nan")),
        ("epoch ns", 10**40),
        ("iso", "1" * 5_000),
        ("iso", ["2026-01-31"]),
    ],
)
def test_what_is_no_time_is_refused_with_one_that_would_be(form: str, value: object) -> None:
    example = TimeFormat(form).example
    with pytest.raises(ValueError, match=f"a time such as {example} was expected, not") as refused:
        reader(TimeFormat(form), "")(value)
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize("value", [None, "", "  "])
def test_nothing_is_a_missing_time(value: object) -> None:
    assert reader(TimeFormat.ISO, "")(value) is None


def test_moments_are_read_on_the_clocks_of_the_zone_and_what_was_read_from_them_stays() -> None:
    berlin = reader(TimeFormat.ISO, "Europe/Berlin")
    assert berlin("2026-01-31T10:00:00Z") == NOON + 3_600
    assert berlin("2026-07-31T10:00:00Z") == berlin("2026-07-31T12:00:00")
    assert berlin("2026-01-31T10:00:00") == NOON
    assert reader(TimeFormat.EPOCH_S, "Asia/Kolkata")(NOON) == NOON + 5.5 * 3_600


PLAIN = st.sampled_from(["", "T10:59", " 10:59:07", "T10:59:07Z", "T23:59:07+05:30", " 00:00:00-09:00"])


@given(st.dates(), PLAIN, st.sampled_from(["", "Europe/Berlin"]))
def test_what_programs_write_is_read_as_if_it_were_written_with_liberties(
    day: date, clock: str, zone: str
) -> None:
    read = reader(TimeFormat.ISO, zone)
    free = re.sub(r"(\d{4})-(\d\d)-", r"\1/\2/", day.isoformat()) + clock
    try:
        expected = read(free)
    except ValueError:  # beyond the calendar on those clocks
        with pytest.raises(ValueError, match="was expected"):
            read(day.isoformat() + clock)
        return
    assert read(day.isoformat() + clock) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-W05-1",
        "2026-01-31T1000",
        "2026-01-31x10:00",
        "2026-01-31T24:00",
        "2026-01-31T10:00:00X",
        "2026-01-31T10:00:00+05:30:15",
        "\uff12\uff10\uff12\uff16-01-31",
    ],
)
def test_what_is_only_nearly_as_programs_write_it_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="was expected"):
        reader(TimeFormat.ISO, "")(text)


def test_a_zone_that_is_none_is_refused_with_one_that_is() -> None:
    with pytest.raises(ValueError, match="'Mars/Base' is no time zone that is known here: give one such as"):
        Feature(name="at", kind=Kind.TIME, format=TimeFormat.ISO, zone="Mars/Base")


@pytest.mark.parametrize("form", list(TimeFormat))
@pytest.mark.parametrize("seconds", [0.0, NOON, NOON + 0.000_001, -86_400.5, 33_240.0, 253_402_300_799.0])
def test_a_time_that_was_written_out_is_read_as_the_same(form: TimeFormat, seconds: float) -> None:
    assert reader(form, "Europe/Berlin")(spelled(seconds, form)) == seconds


def test_a_schema_knows_its_times_and_what_they_count_from() -> None:
    born = Feature(name="born", kind=Kind.TIME, format=TimeFormat.DMY)
    paid = Feature(name="paid", kind=Kind.TIME, format=TimeFormat.ISO, since=("born",))
    schema = FeatureSchema(features=(paid, Feature(name="amount", kind=Kind.NUMERIC), born))
    assert schema.times == TimeColumns((0, 2), ((0, 2),))
    with pytest.raises(ValueError, match="paid counts since what is no other time"):
        FeatureSchema(features=(paid, Feature(name="born", kind=Kind.NUMERIC)))
    with pytest.raises(ValueError, match="a format belongs to a time, and a time has one"):
        Feature(name="at", kind=Kind.TIME)


def test_hours_about_midnight_have_their_middle_there() -> None:
    night = np.array([22.0, 23.0, 1.0, 2.0])
    assert abs((middle_hour(night) + 12) % 24 - 12) < 1e-9
    assert around(0.0, night).tolist() == [-2.0, -1.0, 1.0, 2.0]
    assert hours(np.array([-3_600.0, 90_000.0])).tolist() == [23.0, 1.0]


def test_records_are_compared_by_the_hour_of_the_week_and_what_passed_between_times() -> None:
    week = timedelta(weeks=1).total_seconds()
    rows = np.array([[NOON, NOON - 60, 5.0], [NOON + week, NOON + week - 60, 5.0], [NOON + 3_600, NOON, 5.0]])
    first, later, other = as_compared(rows, TimeColumns((0, 1), ((0, 1),))).tolist()
    assert first == later != other


def test_a_schema_with_times_goes_to_another_process() -> None:
    feature = Feature(name="at", kind=Kind.TIME, format=TimeFormat.ISO, zone="Europe/Berlin")
    assert feature.coerce("2026-01-31T10:00:00Z") == NOON + 3_600
    again = pickle.loads(pickle.dumps(feature))  # noqa: S301
    assert again.coerce("2026-01-31T10:00:00Z") == NOON + 3_600

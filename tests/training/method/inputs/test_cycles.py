from datetime import date, timedelta

import numpy as np
import torch

from nearnorm.models.data.schema import TimeColumns
from nearnorm.training.method.inputs.cycles import circles_of, day_of_month, day_of_week, minute_of_day
from nearnorm.training.method.inputs.preprocess import Preprocess

DAY = 86_400.0
START = 1.75e9 // DAY * DAY
rng = np.random.default_rng(0)


def names(values: np.ndarray) -> list[str]:
    return [circle.name for circle in circles_of(values[:, None], [0], bounded=False)]


def test_weekday_and_day_of_the_month_are_the_calendars() -> None:
    days = np.arange(-700_000, 2_900_000, 997)
    seconds = torch.tensor(days * DAY + 45_296.0)
    for day, weekday, of_month in zip(days, day_of_week(seconds), day_of_month(seconds), strict=True):
        true = date(1970, 1, 1) + timedelta(days=int(day))
        assert (true.weekday(), true.day) == (weekday, of_month + 1)
    assert set(minute_of_day(seconds).tolist()) == {754.0}


def test_a_circle_is_told_of_where_the_rows_go_round_it() -> None:
    assert names(START + rng.uniform(0, 0.5 * DAY, 500)) == []
    assert names(START + rng.uniform(0, 3 * DAY, 500)) == ["day"]
    assert names(START + rng.uniform(0, 30 * DAY, 500)) == ["day", "week"]
    assert names(START + rng.uniform(0, 300 * DAY, 500)) == ["day", "week", "month"]
    assert names(START + rng.integers(0, 300, 500) * DAY) == ["week", "month"]
    assert names(rng.integers(0, 20_000, 500) * DAY) == []  # birthdays
    assert names(rng.uniform(0, DAY, 500)) == ["day"]  # times of day


def test_midnight_is_between_eleven_and_one_and_a_missing_time_is_in_the_middle_of_all() -> None:
    numeric = (START + np.arange(0, 3 * DAY, 60.0))[:, None]
    module = Preprocess(numeric, np.zeros((len(numeric), 0), np.int64), (), "quantile", TimeColumns((0,)))
    at = np.array([[START + 23 * 3_600], [START], [START + 3_600], [START + 12 * 3_600], [np.nan]])
    before, midnight, after, noon, missing = module(
        torch.from_numpy(at), torch.zeros(5, 0, dtype=torch.int64)
    )
    assert torch.dist(before, midnight) < 0.3 * torch.dist(noon, midnight)
    assert torch.allclose(torch.dist(before, midnight), torch.dist(midnight, after), atol=1e-5)
    assert missing.abs().max() < 1e-5


def test_what_passed_since_another_time_is_a_number_and_the_other_times_own() -> None:
    born = rng.uniform(0, 10_000, 500) * DAY
    numeric = np.stack([START + rng.uniform(0, 90 * DAY, 500), born], axis=1)
    times = TimeColumns((0, 1), ((0, 1),))
    module = Preprocess(numeric, np.zeros((500, 0), np.int64), (), "quantile", times)
    rows = module(torch.from_numpy(numeric), torch.zeros(500, 0, dtype=torch.int64))
    age = numeric[:, 0] - numeric[:, 1]
    assert np.array_equal(np.argsort(rows[:, 0].numpy(), kind="stable"), np.argsort(age, kind="stable"))
    assert module.groups.tolist() == [[0.0, 1.0], *[[1.0, 0.0]] * 6]


def test_gaps_among_times_are_told_where_training_had_some() -> None:
    numeric = (START + rng.uniform(0, 3 * DAY, 500))[:, None]
    numeric[::4] = np.nan
    module = Preprocess(numeric, np.zeros((500, 0), np.int64), (), "quantile", TimeColumns((0,)))
    rows = module(torch.from_numpy(numeric), torch.zeros(500, 0, dtype=torch.int64))
    assert rows[:, -1].tolist() == np.isnan(numeric[:, 0]).astype(float).tolist()

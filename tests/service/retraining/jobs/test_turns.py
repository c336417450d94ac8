"""Whose turn it is: lines take turns by how long they wait, none for ever, and a job goes on where it can."""

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nearnorm.models.errors import ConfigError
from nearnorm.service.hours import Hours
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import jobs, lines
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.retraining.jobs import turns
from nearnorm.service.retraining.jobs.requests import RELEASE
from nearnorm.service.settings import load_settings
from tests.service.retraining.jobs.test_jobs import LEASE, asked, end, take

HERE, ELSEWHERE = turns.name_of("host", "/a", 1, "x"), turns.name_of("host", "/b", 2, "y")


def waiting(model: str, number: int = 0) -> Job:
    return Job(f"{number:04}{model}", model, "queued", "", 0.0, "labels", "mei", RELEASE, 0, 0)


@example_settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 5), min_size=2), st.integers(1, 10**6))
def test_among_lines_that_always_wait_none_is_passed_over_for_ever(
    priorities: dict[str, int], lasting: int
) -> None:
    """However high the others' priorities are, and however long a training takes."""
    last: dict[str, int] = {}
    now, gap = 0, dict.fromkeys(priorities, 0)
    most = len(priorities) - 1 if len(set(priorities.values())) == 1 else 8 * sum(priorities.values())
    for number in range(20 * len(priorities)):
        now += lasting
        chosen = turns.first([waiting(model, number) for model in priorities], last, priorities, now).model
        last[chosen] = now
        for model in priorities:
            gap[model] = 0 if model == chosen else gap[model] + 1
            assert gap[model] <= most, (model, number)


def test_lines_of_one_priority_take_turns_one_after_the_other() -> None:
    last: dict[str, int] = {}
    told = []
    for now in range(1, 10):
        chosen = turns.first([waiting(model) for model in "cab"], last, {}, now).model
        last[chosen] = now
        told.append(chosen)
    assert "".join(told) == "abcabcabc"


def test_a_line_that_is_due_again_and_again_leaves_the_others_their_turn(ledger: Ledger) -> None:
    for model in ("busy", "calm", "new"):
        asked(ledger, model)
    told, now = [], now_ms()
    for number in range(6):
        job = take(ledger, HERE, now + 1_000 * number)
        assert job is not None
        told.append(job.model)
        end(ledger, job, HERE)
        asked(ledger, job.model if job.model != "new" else "busy")
    assert told[:3] == ["busy", "calm", "new"]
    assert told[3:] == ["busy", "calm", "busy"]


def test_a_line_of_higher_priority_has_its_turn_sooner(ledger: Ledger) -> None:
    now = now_ms()
    with ledger.write() as connection:
        lines.prefer(connection, "urgent", 5, now, "test")
    for model, at in (("calm", 1_000), ("urgent", 4_000)):
        asked(ledger, model)
        job = take(ledger, HERE, now + at)
        assert job is not None
        end(ledger, job, HERE)
    for model in ("calm", "urgent"):
        asked(ledger, model)
    chosen = take(ledger, HERE, now + 5_000)
    assert chosen is not None
    assert chosen.model == "urgent"


def test_a_job_that_a_worker_died_over_comes_behind_the_others_and_goes_to_another_place(
    ledger: Ledger,
) -> None:
    now = now_ms() + 1_000
    asked(ledger, "killing")
    assert take(ledger, HERE, now)
    after = now + LEASE + 1
    asked(ledger, "waiting")
    with ledger.write() as connection:
        for worker in (HERE, ELSEWHERE):
            jobs.greet(connection, worker, RELEASE, after, 0)
        chosen = [turns.next_job(connection, RELEASE, after, worker) for worker in (HERE, ELSEWHERE)]
    assert [job and job.model for job in chosen] == ["waiting", "waiting"]
    assert take(ledger, HERE, after)
    assert take(ledger, HERE, after) is None  # while there is another place
    again = take(ledger, ELSEWHERE, after)
    assert again is not None
    assert (again.model, again.attempts) == ("killing", 2)


def test_a_lone_place_takes_up_what_its_own_worker_died_over(ledger: Ledger) -> None:
    now = now_ms() + 1_000
    asked(ledger, "killing")
    assert take(ledger, HERE, now)
    with ledger.write() as connection:
        jobs.greet(connection, HERE, RELEASE, now, 0)
    again = take(ledger, turns.name_of("host", "/a", 3, "z"), now + LEASE + 1)
    assert again is not None


@pytest.mark.parametrize("stage", ["gate", "publish", "activate"])
def test_what_is_trained_goes_on_where_its_result_is_unless_nobody_comes_back(stage: str) -> None:
    lost = replace(waiting("one"), state="running", stage=stage, worker=HERE, lease=1_000, attempts=1)
    here, elsewhere = turns.place_of(HERE), turns.place_of(ELSEWHERE)
    assert turns.is_for(lost, here, {elsewhere}, 2_000)
    assert not turns.is_for(lost, elsewhere, {here}, 2_000)
    assert turns.is_for(lost, elsewhere, set(), 1_000 + turns.RETURNS + 1)


@pytest.mark.parametrize("stage", ["gate", "publish", "activate"])
def test_what_is_trained_is_trained_anew_elsewhere_once_two_workers_died_over_it(stage: str) -> None:
    lost = replace(waiting("one"), state="running", stage=stage, worker=HERE, lease=1_000, attempts=2)
    here, elsewhere = turns.place_of(HERE), turns.place_of(ELSEWHERE)
    assert not turns.is_for(lost, here, {elsewhere}, 2_000)
    assert turns.is_for(lost, elsewhere, {here}, 2_000)
    assert turns.is_for(lost, here, set(), 2_000)


def test_hours_go_over_midnight_and_begin_to_the_minute() -> None:
    hour = 3_600_000
    night = Hours.of("22:00-06:00")
    for of_day, begins in ((23, 23), (0, 0), (5.99, 5.99), (6, 22), (12, 22), (21.5, 22), (22, 22)):
        assert night.next(int((24 + of_day) * hour)) == int((24 + begins) * hour), of_day
    assert Hours.of("01:30-02:00").next(3 * hour) == int(25.5 * hour)
    for wrong in ("22-6", "25:00-01:00", "01:00-01:00", "night"):
        with pytest.raises(ValueError, match="22:00-06:00"):
            Hours.of(wrong)


def test_hours_that_are_none_are_told_by_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARNORM_TRAINING_HOURS", "22-6")
    with pytest.raises(
        ConfigError, match=r"^NEARNORM_TRAINING_HOURS: '22-6' are no hours: write 22:00-06:00"
    ):
        load_settings()

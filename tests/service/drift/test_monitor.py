"""What drift notices, what it leaves alone, and that it stays as small as it was."""

import weakref
from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from nearnorm.service.drift.histogram import Observed
from nearnorm.service.drift.monitor import LONG, SHORT, STEP, Drift, DriftOnset
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from tests.service.reference import Traffic, core_of, scored, sized

CATEGORIES = [4]
REFERENCE = 2_000


def traffic(rows: int, seed: int) -> Traffic:
    rng = np.random.default_rng(seed)
    numeric = np.column_stack(
        [rng.normal(size=rows), rng.lognormal(size=rows), rng.poisson(2, rows).astype(float)]
    )
    numeric[rng.random(numeric.shape) < 0.05] = np.nan
    codes = rng.choice(6, p=[0.01, 0.0, 0.5, 0.3, 0.15, 0.04], size=(rows, 1))
    return Traffic(numeric, codes)


def watching(reports: list[DriftOnset] | None = None) -> Drift:
    onsets = reports if reports is not None else []
    return Drift(core_of(traffic(REFERENCE, seed=0), CATEGORIES), onsets.append)


def names(drift: Drift) -> set[str]:
    return {state.signal.name for state in drift.snapshot().signals if state.drifted_since}


def test_unchanged_traffic_is_not_reported() -> None:
    drift = watching()
    for seed in range(1, 11):
        drift.count(scored(traffic(10_000, seed)))
    snapshot = drift.snapshot()
    assert snapshot.rows == 100_000
    assert snapshot.reports == ()
    assert max(state.psi for state in snapshot.signals) < 0.05


def test_missing_values_are_told_of_every_feature_and_of_nothing_else() -> None:
    drift = watching()
    drift.count(scored(traffic(3_000, seed=1)))
    states = {state.signal.name: state for state in drift.snapshot().signals}
    missing = {name for name, state in states.items() if state.missing is not None}
    assert missing == {"n0", "n1", "n2", "c0"}
    assert missing == {name for name, state in states.items() if state.reference_missing is not None}
    assert states["n0"].missing == pytest.approx(0.05, abs=0.02)
    assert states["score"].signal.kind == "score"
    assert states["distance"].signal.kind == "distance"


def shift_mean(rows: Traffic) -> None:
    rows.numeric[:, 0] += 0.45  # a PSI of 0.2 for a normal distribution: the square of the shift


def lose_values(rows: Traffic) -> None:
    rows.numeric[::4, 1] = np.nan


def meet_unknown_categories(rows: Traffic) -> None:
    rows.codes[::10, 0] = 1


def change_mix(rows: Traffic) -> None:
    rows.codes[::3, 0] = 4


@pytest.mark.parametrize(
    ("change", "feature"),
    [(shift_mean, "n0"), (lose_values, "n1"), (meet_unknown_categories, "c0"), (change_mix, "c0")],
)
def test_a_changed_feature_is_reported_within_2000_rows(
    change: Callable[[Traffic], None], feature: str
) -> None:
    reports: list[DriftOnset] = []
    drift = watching(reports)
    drift.count(scored(traffic(3_100, seed=1)))
    changed = traffic(2_000, seed=2)
    change(changed)
    drift.count(scored(changed))
    assert [report.signal.name for report in reports] == [feature]
    assert 3_100 < reports[0].row <= 5_100
    assert reports[0].psi >= 0.1
    assert reports[0].p_value < 1e-6
    assert names(drift) == {feature}


def test_a_drift_that_passes_is_over_and_can_be_reported_again() -> None:
    reports: list[DriftOnset] = []
    drift = watching(reports)
    for seed in (1, 2):
        changed = traffic(1_500, seed)
        shift_mean(changed)
        drift.count(scored(changed))
        assert names(drift) == {"n0"}
        drift.count(scored(traffic(2_000, seed + 10)))
        assert names(drift) == set()
    assert len(reports) == 2


def test_a_real_but_slight_change_is_left_alone() -> None:
    reports: list[DriftOnset] = []
    drift = watching(reports)
    for seed in range(1, 7):
        slight = traffic(10_000, seed)
        slight.numeric[:, 0] += 0.1  # a PSI of 0.01
        drift.count(scored(slight))
    assert reports == []


def test_scores_prototypes_and_distances_are_watched_too() -> None:
    drift = watching()
    drift.count(scored(traffic(2_000, seed=1)))
    rows = scored(traffic(2_000, seed=2))
    distance = rows.distance.copy()
    distance[::20] = 0.31  # 5% far from all, where 1% were
    prototype = np.where(rows.prototype == 2, 0, rows.prototype)
    drift.count(replace(rows, score=rows.score**2, prototype=prototype, distance=distance))
    assert {"score", "prototype", "distance"} <= names(drift)


def test_rates_and_shares_are_those_of_the_traffic() -> None:
    drift = watching()
    rows = traffic(4_000, seed=3)
    lose_values(rows)
    meet_unknown_categories(rows)
    drift.count(scored(rows))
    states = {state.signal.name: state for state in drift.snapshot().signals}
    assert states["n1"].missing == pytest.approx(np.isnan(rows.numeric[:, 1]).mean())
    assert states["n1"].reference_missing == pytest.approx(0.05, abs=0.02)
    assert states["n1"].unknown is None
    assert states["c0"].unknown == pytest.approx((rows.codes == 1).mean())
    assert states["c0"].reference_unknown == 0.0
    assert sum(states["prototype"].shares) == pytest.approx(1.0)


def test_rows_count_the_same_alone_and_in_any_batch() -> None:
    whole, single = watching(), watching()
    rows = scored(traffic(1_000, seed=4))
    whole.count(rows)
    for i in range(len(rows)):
        one = rows.take(np.array([i]))
        if single.observe(Rows(one.numeric, one.codes), outputs_of(one), {}):
            single.settle()
    assert whole.snapshot().signals == single.snapshot().signals
    assert single.snapshot().rows == 1_000


def outputs_of(rows: Observed) -> Outputs:
    return Outputs(rows.score, rows.similarity, rows.prototype, rows.distance, rows.score, rows.similarity)


def test_rows_are_counted_by_whole_steps_and_the_others_wait() -> None:
    drift = watching()
    rows = scored(traffic(2 * STEP, seed=6))
    seen = []
    for start, stop in ((0, 100), (100, STEP + 150), (STEP + 150, 2 * STEP)):
        part = rows.take(np.arange(start, stop))
        drift.observe(Rows(part.numeric, part.codes), outputs_of(part), {})
        drift.settle()
        seen.append(drift.snapshot().rows)
    assert seen == [0, STEP, 2 * STEP]


def test_nothing_of_a_models_answers_is_held_once_it_has_let_go_and_all_is_counted_all_the_same() -> None:
    drift, whole = watching(), watching()
    rows = scored(traffic(STEP, seed=8))
    whole.count(rows)
    held = []
    for start in range(0, STEP - 10, 10):
        part = rows.take(np.arange(start, start + 10))
        held.append(weakref.ref(part.score))
        drift.observe(Rows(part.numeric, part.codes), outputs_of(part), {})
        del part
    drift.let_go()
    assert [one() for one in held if one() is not None] == []
    last = rows.take(np.arange(STEP - 10, STEP))
    assert drift.observe(Rows(last.numeric, last.codes), outputs_of(last), {})
    drift.settle()
    assert drift.snapshot().signals == whole.snapshot().signals


def test_the_kept_events_of_a_new_group_are_its_examples_and_nobody_else_s() -> None:
    """The outputs are a batch's: its other rows, and their events, are not this model's to show."""
    drift = watching()
    rows = scored(traffic(STEP, seed=7))
    far = replace(
        rows, distance=np.full(STEP, 2.0, np.float32), similarity=np.full((STEP, 3), 0.2, np.float32)
    )
    first = Rows(far.numeric[:-1], far.codes[:-1])
    drift.observe(first, outputs_of(far), {0: "first", STEP - 1: "of another"})
    drift.observe(Rows(far.numeric[:1], far.codes[:1]), outputs_of(far), {})
    drift.settle()
    (candidate,) = drift.snapshot().candidates
    assert candidate.rows == STEP
    assert candidate.examples == ("first",)


def test_the_long_window_forgets() -> None:
    drift = watching()
    changed = traffic(LONG, seed=5)
    shift_mean(changed)
    drift.count(scored(changed))
    for seed in range(6, 10):
        drift.count(scored(traffic(LONG // 4 + STEP, seed)))
    state = drift.snapshot().signals[0]
    assert state.psi < 0.02
    assert state.drifted_since is None


def test_two_weeks_at_1000_rows_a_second_take_no_more_memory_than_two_windows() -> None:
    drift = watching()
    for seed in (1, 2):
        drift.count(scored(traffic(LONG + SHORT + 100, seed)))
    before = sized(drift)
    drift._rows += 14 * 86_400 * 1_000 - drift.snapshot().rows  # by row count: what came before is gone
    for seed in range(3, 13):
        changed = traffic(10_000, seed)
        if seed % 2:
            shift_mean(changed)
        drift.count(scored(changed))
    snapshot = drift.snapshot()
    assert snapshot.rows > 14 * 86_400 * 1_000
    assert len(snapshot.reports) >= 5
    assert sized(drift) < before + 20_000  # the reports, of which a fixed number is kept

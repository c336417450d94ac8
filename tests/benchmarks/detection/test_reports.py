"""What the quality benchmarks make of their figures. The figures themselves need BENCH_DATA and an hour."""

import numpy as np
import pytest

from nearnorm.models.conformal import threshold
from tests.benchmarks.detection import paper_report
from tests.benchmarks.detection import robustness_report as robustness
from tests.benchmarks.detection.paper_report import WHOLE, Run
from tests.benchmarks.detection.quality_report import Cell, differences, lead, table
from tests.benchmarks.detection.robustness_report import Figure, band
from tests.benchmarks.sets.left_out import in_families, is_left_out
from tests.benchmarks.verdict.bench_report import line
from tests.benchmarks.verdict.verdict_cells import Verdicts

SETS = ("12_fault", "iot23:Okiru")


def cells(method: str, *found: float) -> list[Cell]:
    """Two sets by two seeds."""
    keys = [(name, seed) for name in SETS for seed in (0, 1)]
    return [Cell(n, s, 10, method, ap, 1.0) for (n, s), ap in zip(keys, found, strict=True)]


def test_the_band_holds_the_share_of_alerts_of_rows_like_the_reference() -> None:
    rng = np.random.default_rng(0)
    low, high = band(700, 2_000)
    inside = 0
    for _ in range(1_000):
        reference, rows = rng.random(700), rng.random(2_000)
        inside += low <= float((rows > threshold(reference, 0.01)).mean()) <= high
    assert 0.0 < low < 0.01 < high
    assert inside >= 990


def test_methods_are_ranked_by_their_mean_and_the_best_peer_of_each_set_closes_the_table() -> None:
    ours, one = cells("nearnorm default", 0.9, 0.7, 0.6, 0.6), cells("one", 0.5, 0.5, 0.9, 0.7)
    partial = cells("partial", 1.0, 1.0, 1.0, 1.0)[:3]
    lines = table([*one, *ours, *partial]).splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["nearnorm", "default"], ["one", "0.650"]]
    assert lines[-1].startswith("best peer")
    assert lines[-1].endswith("0.650")
    assert "partial" not in "".join(lines)


def test_what_a_key_changes_is_told_as_paired_differences_by_family() -> None:
    base = cells("nearnorm default", 0.5, 0.6, 0.7, 0.8)
    less = cells("nearnorm default trees=0", 0.4, 0.5, 0.7, 0.8)
    told = differences([*base, *less], "default").splitlines()[-1]
    assert told == "| default trees=0 | -0.050 ± 0.029 | -0.100 ± 0.000 | - | +0.000 ± 0.000 |"


def test_a_lead_is_told_over_the_best_single_peer_with_its_interval() -> None:
    ours = cells("nearnorm default", 0.9, 0.7, 0.6, 0.6)
    found = lead([*ours, *cells("one", 0.5, 0.5, 0.5, 0.7), *cells("two", 0.1, 0.1, 0.9, 0.9)], "default")
    assert found.startswith(
        "default leads one, the best single peer, by +0.150 (80% between -0.042 and +0.342"
    )


def test_sets_that_are_far_behind_are_named_where_seeds_do_not_explain_it() -> None:
    peer = cells("one", 0.9, 0.9, 0.9, 0.1)
    found = lead([*cells("nearnorm default", 0.5, 0.52, 0.1, 0.1), *peer], "default")
    assert found.endswith("more than 20% and two standard errors behind it: 12_fault (0.510, 0.900)")
    assert "behind" not in lead([*cells("nearnorm default", 0.8, 0.8, 0.9, 0.1), *peer], "default")


def test_what_is_choice_is_told_by_choosing_for_each_family_on_the_others() -> None:
    good_here, good_there = cells("nearnorm a", 0.9, 0.9, 0.1, 0.1), cells("nearnorm b", 0.2, 0.2, 0.6, 0.6)
    found = lead([*good_here, *good_there], "a")
    assert found == "the best preset 0.500; chosen for each family by the others 0.150: 0.350 of it is choice"


def test_every_data_set_is_in_one_family_and_a_new_one_has_to_be_put_into_one() -> None:
    assert is_left_out("jm1")
    assert not is_left_out("iot23:Okiru")
    assert in_families(["iot23:A", "iot23:B", "jm1"]) == {
        "iot23": ["iot23:A", "iot23:B"],
        "software": ["jm1"],
    }
    with pytest.raises(KeyError, match="is in no family"):
        is_left_out("something new")


def test_unseen_kinds_are_compared_with_the_cold_start_pair_by_pair() -> None:
    found = {"trained": (0.4, 0.2), "its distance": (0.3, 0.4), "cold start": (0.3, 0.3)}
    figures = [
        Figure("unseen", "default", 0, source, f"{other}: {what}", values[i])
        for i, (source, other) in enumerate([("iot23:A", "iot23:B"), ("iot23:B", "iot23:A")])
        for what, values in found.items()
    ]
    assert robustness.unseen(figures).splitlines()[-1] == "| iot23 | 2 | 0.300 | 0.350 | 0.300 | 50%, 100% |"


def verdicts(labelled: float, tested: float) -> Verdicts:
    """1,000 reference rows and as many test rows, of which ten are anomalies, at these ranks."""
    rows = np.arange(1_000) / 1_000
    test = np.r_[rows, np.full(10, tested)]
    truth = np.arange(1_010) >= 1_000
    return Verdicts(rows, np.zeros(1_000, bool), test, truth, np.full(10, labelled), np.stack([rows, rows]))


def test_a_report_is_measured_by_how_its_figures_go_with_the_truth_and_how_often_that_lies_within() -> None:
    right = [verdicts(rank, rank) for rank in (0.5, 0.9, 0.99)]
    told = line("right", "half within", right)
    assert told.startswith("| right | half within | 100% | 1.00 | 0.00 |"), (
        "ten equal ranks: an interval of none"
    )
    wrong = [verdicts(1 - cell.crossed[0], cell.crossed[0]) for cell in right]
    assert line("wrong", "half within", wrong).split("|")[4].strip() == "-1.00"
    found = line("right", "found", [verdicts(0.995, 0.9951), verdicts(0.5, 0.5)])
    assert found.startswith("| right | found | 100% | 1.00 | 1.00 | 0.500 (0.500) |")


def paper_runs() -> list[Run]:
    """Two sets and seeds with validation: the whole method, and one prototype in its place."""
    return [
        Run(name, seed, "validation", variant, whole - lost * (variant != WHOLE), seed + 1, [])
        for name, whole, lost in (("A", 0.8, 0.1), ("B", 0.4, 0.3))
        for seed in (0, 1)
        for variant in (WHOLE, "one prototype")
    ]


def test_the_published_method_stands_beside_what_is_recorded_of_its_authors_code() -> None:
    lines = paper_report.modes(paper_runs(), {"A": 0.9, "B": 0.5}).splitlines()
    assert lines[0] == "| | A | B | mean | by seed |"
    assert lines[2] == "| the authors' code, recorded | 0.900 | 0.500 | 0.700 | |"
    assert lines[3] == "| validation | 0.800 | 0.400 | 0.600 | 0.600 0.600 |"
    assert lines[4] == "| ... epochs kept | 1 2 | 1 2 | | |"


def test_a_claim_is_worth_what_is_lost_without_it_paired_over_sets_and_seeds() -> None:
    told = paper_report.claims(paper_runs()).splitlines()[-1]
    assert told == "| validation, one prototype | -0.200 ± 0.058 | -0.100 ± 0.000 | -0.300 ± 0.000 |"
    once = [run for run in paper_runs() if run.seed == 0]
    assert paper_report.claims(once).splitlines()[-1].endswith("| -0.100 | -0.300 |")

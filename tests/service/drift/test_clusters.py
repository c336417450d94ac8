"""New dense regions among the rows that are far from every prototype."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from nearnorm.service.drift.clusters import EXAMPLES, KEPT, Clusters
from nearnorm.service.drift.histogram import Observed
from tests.service.reference import Traffic, core_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROTOTYPES = np.eye(8)[:3]


def rows_at(places: NDArray[np.float64], numeric: float = 0.0, first: int = 0) -> Observed:
    """Rows with these embeddings [N, 8] on the unit sphere."""
    unit = places / np.linalg.norm(places, axis=1, keepdims=True)
    apart = np.linalg.norm(unit[:, None] - PROTOTYPES[None], axis=2)
    n = len(unit)
    return Observed(
        numeric=np.full((n, 1), numeric),
        codes=np.full((n, 1), 3),
        score=np.ones(n, np.float32),
        prototype=apart.argmin(axis=1),
        distance=apart.min(axis=1).astype(np.float32),
        similarity=(1 / (1 + apart**2)).astype(np.float32),
        event_ids={i: f"event-{first + i}" for i in range(n)},
    )


def near(rng: np.random.Generator, count: int) -> Observed:
    return rows_at(PROTOTYPES[rng.integers(3, size=count)] + rng.normal(0, 0.02, (count, 8)))


def watching(reference_rows: int = 2_000) -> Clusters:
    core = core_of(Traffic(np.zeros((reference_rows, 1)), np.full((reference_rows, 1), 3)), [4])
    reference = core.reference.model_copy(update={"distance_high": 0.3})
    return Clusters(core.model_copy(update={"reference": reference}))


def test_a_dense_region_far_from_all_is_a_candidate_with_examples() -> None:
    rng = np.random.default_rng(0)
    clusters = watching()
    clusters.add(near(rng, 1_000), NOW)
    place = np.zeros(8)
    place[[2, 5]] = 0.7, 0.7
    clusters.add(rows_at(place + rng.normal(0, 0.02, (80, 8)), numeric=7.5), NOW)
    (candidate,) = clusters.candidates()
    assert candidate.rows == 80
    assert candidate.share == 1.0, "of the rows since the oldest far one"
    assert candidate.nearest == 2
    assert candidate.distance > 0.3
    assert candidate.examples[0] == "event-79"
    assert len(candidate.examples) == EXAMPLES
    assert candidate.typical == {"n0": 7.5, "c0": "v1"}
    assert candidate.since == NOW


def test_a_group_is_as_old_as_its_first_row() -> None:
    rng = np.random.default_rng(0)
    clusters = watching()
    place = np.zeros(8)
    place[[2, 5]] = 0.7, 0.7
    far = place + rng.normal(0, 0.02, (80, 8))
    clusters.add(rows_at(far[:1]), NOW)
    clusters.add(rows_at(far[1:], first=1), NOW + timedelta(hours=1))
    (candidate,) = clusters.candidates()
    assert (candidate.rows, candidate.since) == (80, NOW)


def test_rows_scattered_far_from_all_are_no_group() -> None:
    rng = np.random.default_rng(1)
    clusters = watching()
    clusters.add(near(rng, 1_000), NOW)
    clusters.add(rows_at(rng.normal(size=(80, 8))), NOW)
    assert clusters.candidates() == []


def test_a_few_far_rows_among_many_are_no_group() -> None:
    rng = np.random.default_rng(2)
    clusters = watching()
    place = np.zeros(8)
    place[5] = 1.0
    for i in range(60):
        clusters.add(near(rng, 99), NOW)
        clusters.add(rows_at(place + rng.normal(0, 0.02, (1, 8)), first=i), NOW)
    assert clusters.candidates() == []


@pytest.mark.parametrize(
    ("reference_rows", "region", "candidates"),
    [(200, 80, 0), (200, 100, 1), (2_000, 50, 1), (2_000, 42, 0), (100_000, 50, 1), (100_000, 45, 0)],
)
def test_a_region_must_be_larger_than_the_far_share_of_so_many_reference_rows_may_err(
    reference_rows: int, region: int, candidates: int
) -> None:
    """1% is far in the reference too, give or take 5 standard errors: 4.5% of 200 rows, 2.1% of 2,000."""
    rng = np.random.default_rng(5)
    clusters = watching(reference_rows)
    place = np.zeros(8)
    place[5] = 1.0
    clusters.add(rows_at(place + rng.normal(0, 0.02, (region, 8))), NOW)
    clusters.add(near(rng, 2_000 - region), NOW)
    assert clusters.count == len(clusters.candidates()) == candidates


def test_a_region_s_share_is_of_all_rows_since_its_oldest_and_an_unknown_category_has_no_name() -> None:
    rng = np.random.default_rng(6)
    clusters = watching()
    place = np.zeros(8)
    place[5] = 1.0
    clusters.add(near(rng, 500), NOW)
    rows = rows_at(place + rng.normal(0, 0.02, (100, 8)))
    clusters.add(replace(rows, codes=np.full((100, 1), 1)), NOW)
    clusters.add(near(rng, 300), NOW)
    (candidate,) = clusters.candidates()
    assert candidate.share == 100 / 400
    assert candidate.typical["c0"] is None


@pytest.mark.parametrize("distance", [0.5, 2.0])
@pytest.mark.parametrize(("apart", "regions"), [(0.14, 1), (0.16, 2)])
def test_rows_farther_apart_than_half_of_what_a_group_reaches_are_two_regions(
    distance: float, apart: float, regions: int
) -> None:
    """Groups reach 0.3. Their distances to one prototype are what tells these rows from one another."""
    distances = np.repeat([[distance, 3.0, 3.0], [distance + apart, 3.0, 3.0]], 60, axis=0)
    rows = replace(
        rows_at(np.ones((120, 8))),
        distance=distances[:, 0].astype(np.float32),
        similarity=(1 / (1 + distances**2)).astype(np.float32),
    )
    clusters = watching()
    clusters.add(rows, NOW)
    assert clusters.count == regions


def test_two_regions_are_two_candidates_and_old_far_rows_are_forgotten() -> None:
    rng = np.random.default_rng(3)
    clusters = watching()
    one, two = np.zeros((2, 8))
    one[[0, 3]] = 0.7, 0.7
    two[[1, 6]] = 0.6, 0.8
    clusters.add(rows_at(one + rng.normal(0, 0.02, (100, 8))), NOW)
    clusters.add(rows_at(two + rng.normal(0, 0.02, (60, 8))), NOW)
    assert [candidate.rows for candidate in clusters.candidates()] == [100, 60]
    clusters.add(rows_at(two + rng.normal(0, 0.02, (KEPT, 8))), NOW)
    (candidate,) = clusters.candidates()
    assert (candidate.rows, candidate.nearest) == (KEPT, 1)


def test_without_kept_events_there_are_no_examples() -> None:
    place = np.zeros(8)
    place[5] = 1.0
    rows = rows_at(place + np.random.default_rng(4).normal(0, 0.02, (80, 8)))
    clusters = watching()
    clusters.add(replace(rows, event_ids={}), NOW)
    (candidate,) = clusters.candidates()
    assert candidate.examples == ()

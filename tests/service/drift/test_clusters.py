"""New dense regions among the rows that are far from every prototype."""

from datetime import UTC, datetime

import numpy as np
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


def watching() -> Clusters:
    core = core_of(Traffic(np.zeros((2_000, 1)), np.full((2_000, 1), 3)), [4])
    reference = core.reference.model_copy(update={"distance_high": 0.3})
    return Clusters(core.model_copy(update={"reference": reference}))


def test_a_dense_region_far_from_all_is_a_candidate_with_examples() -> None:
    rng = np.random.default_rng(0)
    newcomers = watching()
    newcomers.add(near(rng, 1_000), NOW)
    place = np.zeros(8)
    place[[2, 5]] = 0.7, 0.7
    newcomers.add(rows_at(place + rng.normal(0, 0.02, (80, 8)), numeric=7.5), NOW)
    (candidate,) = newcomers.candidates()
    assert candidate.rows == 80
    assert candidate.nearest == 2
    assert candidate.distance > 0.3
    assert candidate.examples[0] == "event-79"
    assert len(candidate.examples) == EXAMPLES
    assert candidate.typical == {"n0": 7.5, "c0": "v1"}
    assert candidate.since == NOW


def test_rows_scattered_far_from_all_are_no_group() -> None:
    rng = np.random.default_rng(1)
    newcomers = watching()
    newcomers.add(near(rng, 1_000), NOW)
    newcomers.add(rows_at(rng.normal(size=(80, 8))), NOW)
    assert newcomers.candidates() == []


def test_a_few_far_rows_among_many_are_no_group() -> None:
    rng = np.random.default_rng(2)
    newcomers = watching()
    place = np.zeros(8)
    place[5] = 1.0
    for i in range(60):
        newcomers.add(near(rng, 99), NOW)
        newcomers.add(rows_at(place + rng.normal(0, 0.02, (1, 8)), first=i), NOW)
    assert newcomers.candidates() == []


def test_two_regions_are_two_candidates_and_old_far_rows_are_forgotten() -> None:
    rng = np.random.default_rng(3)
    newcomers = watching()
    one, two = np.zeros((2, 8))
    one[[0, 3]] = 0.7, 0.7
    two[[1, 6]] = 0.6, 0.8
    newcomers.add(rows_at(one + rng.normal(0, 0.02, (100, 8))), NOW)
    newcomers.add(rows_at(two + rng.normal(0, 0.02, (60, 8))), NOW)
    assert [candidate.rows for candidate in newcomers.candidates()] == [100, 60]
    newcomers.add(rows_at(two + rng.normal(0, 0.02, (KEPT, 8))), NOW)
    (candidate,) = newcomers.candidates()
    assert (candidate.rows, candidate.nearest) == (KEPT, 1)


def test_without_kept_events_there_are_no_examples() -> None:
    place = np.zeros(8)
    place[5] = 1.0
    rows = rows_at(place + np.random.default_rng(4).normal(0, 0.02, (80, 8)))
    newcomers = watching()
    newcomers.add(replace(rows, event_ids={}), NOW)
    (candidate,) = newcomers.candidates()
    assert candidate.examples == ()

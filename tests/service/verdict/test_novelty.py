"""What nobody has seen: found row by row, and no longer alerted on once it is usual."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.manifest import Core
from nearnorm.models.data.schema import UNKNOWN_CODE
from nearnorm.service.records.encoded import Rows
from nearnorm.service.verdict.novelty import ALLOWED, BLOCK, WINDOW, Novelty, NoveltyWatch

AMOUNT, EPOCH, COUNTRY, CHANNEL = 0, 1, 0, 1  # columns of the numbers, and of the codes


@pytest.fixture(scope="module")
def core(bundle: Bundle) -> Core:
    return bundle.manifest.core


def usual(count: int = 4) -> Rows:
    return Rows(np.tile([50.0, 1.7e9, 0.0], (count, 1)), np.full((count, 2), 2))


def found(core: Core, rows: Rows, distance: NDArray[np.float32] | None = None) -> dict[int, list[str]]:
    novelty = Novelty(core)
    near = np.zeros(len(rows), np.float32)
    novel = novelty.find(rows, near if distance is None else distance)
    return {row: [novelty.name(signal) for signal in signals] for row, signals in novel.items()}


def test_usual_rows_are_not_novel(core: Core) -> None:
    assert found(core, usual()) == {}


@pytest.mark.parametrize("amount", [2_000.1, 1e12, -500.1])
def test_a_number_beyond_the_bounds_is_novel(core: Core, amount: float) -> None:
    rows = usual()
    rows.numeric[2, AMOUNT] = amount
    assert found(core, rows) == {2: ["amount"]}


def test_the_bounds_themselves_and_a_gap_are_not(core: Core) -> None:
    rows = usual()
    rows.numeric[:3, AMOUNT] = 2_000.0, -500.0, np.nan
    assert found(core, rows) == {}


def test_a_side_without_a_bound_is_never_novel(core: Core) -> None:
    rows = usual()
    rows.numeric[0, EPOCH], rows.numeric[1, EPOCH] = 1e300, 0.0
    assert found(core, rows) == {1: ["epoch"]}


def test_an_unseen_category_is_novel_in_a_closed_column_alone(core: Core) -> None:
    rows = usual()
    rows.codes[0, COUNTRY] = rows.codes[1, CHANNEL] = UNKNOWN_CODE
    assert found(core, rows) == {1: ["channel"]}


def test_a_row_far_from_every_prototype_is_novel(core: Core) -> None:
    rows = usual()
    rows.numeric[3, AMOUNT] = 1e12
    assert found(core, rows, np.array([0, 2e5, 0, 2e5], np.float32)) == {
        1: ["the distance"],
        3: ["amount", "the distance"],
    }


def test_a_core_that_does_not_tell_what_was_seen_finds_nothing(core: Core) -> None:
    rows = usual()
    rows.numeric[0, AMOUNT], rows.codes[1, CHANNEL] = 1e12, UNKNOWN_CODE
    assert found(core.model_copy(update={"seen": None}), rows, np.full(4, 1e9, np.float32)) == {}


def test_a_signal_ceases_to_alert_with_more_than_a_thousandth_of_recent_rows() -> None:
    watch = NoveltyWatch()
    for _ in range(ALLOWED):
        assert watch.count(1, {0: (0,)}) == []
        assert watch.alerting({0: (0,)}) == [0]
    assert watch.count(1, {0: (0,)}) == [0]
    assert watch.alerting({0: (0,), 1: (1,), 2: (0, 1)}) == [1, 2]  # what is novel otherwise still alerts
    (state,) = watch.states()
    assert (state.signal, state.rows, state.window) == (0, ALLOWED + 1, ALLOWED + 1)
    assert state.ceased_since is not None


def test_of_a_batch_no_more_rows_alert_than_of_as_many_single_ones() -> None:
    watch = NoveltyWatch()
    batch = dict.fromkeys(range(1_000), (0,)) | {500: (0, 1)}
    assert watch.alerting(batch) == [*range(ALLOWED + 1), 500]
    watch.count(1_000, batch)
    assert watch.alerting(batch) == [500]


def test_as_many_novel_rows_spread_wider_go_on_alerting() -> None:
    watch = NoveltyWatch()
    for _ in range(4 * ALLOWED):
        watch.count(BLOCK, {0: (0,)})
    assert watch.alerting({0: (0,)}) == [0]


def test_what_has_become_rare_again_alerts_again() -> None:
    watch = NoveltyWatch()
    watch.count(100, dict.fromkeys(range(ALLOWED + 1), (0,)))
    assert watch.alerting({0: (0,)}) == []
    for _ in range(WINDOW // BLOCK):
        watch.count(BLOCK, {})
    assert watch.alerting({0: (0,)}) == [0]
    assert watch.states() == []


def test_a_lone_row_is_as_novel_as_in_any_batch(core: Core) -> None:
    assert core.seen is not None
    for closed in (core.seen.closed, ()):
        seen = core.seen.model_copy(update={"closed": closed})
        novelty = Novelty(core.model_copy(update={"seen": seen}))
        rows = usual(6)
        rows.numeric[1, AMOUNT], rows.numeric[2, EPOCH], rows.numeric[3, AMOUNT] = 1e12, 0.0, np.nan
        rows.codes[4, CHANNEL] = UNKNOWN_CODE
        distance = np.array([0, 0, 0, 0, 0, 2e5], np.float32)
        together = novelty.find(rows, distance)
        for i in range(6):
            alone = novelty.find(rows.part(i, i + 1), distance[i : i + 1])
            assert alone.get(0) == together.get(i)


def test_rows_of_a_whole_file_keep_their_places(core: Core) -> None:
    rows = usual(3_000)
    rows.numeric[[5, 2_500], AMOUNT] = 1e12
    assert list(found(core, rows)) == [5, 2_500]

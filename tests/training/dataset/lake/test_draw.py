"""Which rows are drawn: evenly, copies too, and the same ones however the rows are laid out in files."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearnorm.models.bundle.manifest import Draw, Reading
from nearnorm.models.data.files import parquet_file, parts
from nearnorm.models.data.files.parts import Parts, open_parts
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.lake import draw as drawing
from nearnorm.training.dataset.lake.candidates import Candidates
from nearnorm.training.dataset.lake.draw import KeptRows, keep, most_unlabelled
from nearnorm.training.dataset.lake.places import ContentCounts, draw_places


def kept(source: object, most: int, seed: int = 0, label: str | None = "label", **words: str) -> KeptRows:
    reading = Reading(draw=Draw(unlabelled=most, seed=seed), **words)  # type: ignore[arg-type]
    return keep(open_parts(str(source)), label, reading)


def rows(count: int, labelled: int = 3) -> pa.Table:
    """Numbers, texts and times, some missing, some rows copies of others; a few have a label."""
    rng = np.random.default_rng(count)
    return pa.table(
        {
            "x": pa.array(rng.normal(size=count).round(1), mask=rng.random(count) < 0.1),
            "n": pa.array(rng.integers(3, size=count), pa.int32()),
            "s": pa.array(rng.choice(["a", "b"], count), mask=rng.random(count) < 0.3),
            "t": pa.array(rng.integers(5, size=count), pa.timestamp("ms")),
            "label": pa.array([i % 2 if i < labelled else None for i in range(count)], pa.int8()),
        }
    )


def written(folder: Path, table: pa.Table, ends: list[int], group: int) -> Path:
    """The rows in files that end at these places, in row groups of so many rows."""
    folder.mkdir(parents=True)
    for i, (start, end) in enumerate(zip([0, *ends], [*ends, len(table)], strict=True)):
        pq.write_table(table.slice(start, end - start), folder / f"{i:03}.parquet", row_group_size=group)
    return folder


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_same_rows_are_drawn_whatever_the_files_row_groups_batches_and_order(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("lake")
    table = rows(data.draw(st.integers(20, 200)))
    most = data.draw(st.integers(1, len(table) - 4))
    pq.write_table(table, folder / "one.parquet")
    expected = kept(folder / "one.parquet", most)

    order = np.random.default_rng(data.draw(st.integers(0, 9))).permutation(len(table))
    ends = sorted(data.draw(st.sets(st.integers(1, len(table) - 1), max_size=4)))
    monkeypatch.setattr(parquet_file, "BATCH_ROWS", data.draw(st.sampled_from([7, 64, 65_536])))
    monkeypatch.setattr(parts, "PIECE_ROWS", data.draw(st.sampled_from([5, 30, 1_000])))
    shuffled = written(folder / "many", table.take(order), ends, data.draw(st.sampled_from([5, 100])))
    found = kept(shuffled, most)
    assert found.table.to_pylist() == expected.table.to_pylist()
    assert found.drawn_from == expected.drawn_from == len(table) - 3
    assert found.table.num_rows == most + 3
    assert found.table.schema == expected.table.schema == open_parts(str(shuffled)).whole().schema


def test_a_csv_file_gives_the_rows_of_the_parquet_file(tmp_path: Path) -> None:
    table = rows(200).drop_columns(["t"])
    pq.write_table(table, tmp_path / "a.parquet")
    pa_csv.write_csv(table, tmp_path / "a.csv")
    assert (
        kept(tmp_path / "a.csv", 50).table.to_pylist() == kept(tmp_path / "a.parquet", 50).table.to_pylist()
    )


def test_every_labelled_row_is_kept_and_only_rows_that_are_there(tmp_path: Path) -> None:
    table = rows(500, labelled=60)
    pq.write_table(table, tmp_path / "a.parquet")
    found = kept(tmp_path / "a.parquet", 100).table
    labelled = table.filter(pc.is_valid(table["label"]))
    assert found.num_rows == 160
    assert count(found.filter(pc.is_valid(found["label"]))) == count(labelled)
    assert count(found) <= count(table)


def test_equal_rows_with_different_labels_stand_in_one_order(tmp_path: Path) -> None:
    labels = [1, 0, 1] + [None] * 30
    for i, said in enumerate((labels, labels[::-1], [0, *labels[3:], 1, 1])):
        table = pa.table({"x": [1.0] * 33, "label": pa.array(said, pa.int8())})
        pq.write_table(table, tmp_path / f"{i}.parquet")
    found = [kept(tmp_path / f"{i}.parquet", 5).table["label"].to_pylist() for i in range(3)]
    assert found[0] == found[1] == found[2] == [0, 1, 1] + [None] * 5


def count(table: pa.Table) -> Counter[tuple[object, ...]]:
    return Counter(tuple(row.values()) for row in table.to_pylist())


def test_every_row_is_as_likely_as_any_other_and_so_is_every_copy() -> None:
    table = pa.table({"s": ["a"] * 6 + ["b", "c", "d", "e", "f", "g"]})
    twelve = Parts(("s",), 12, (lambda wanted: iter([table]),), lambda: table)
    seeds = 1_000
    readings = [Reading(draw=Draw(unlabelled=4, seed=seed)) for seed in range(seeds)]
    drawn = [Counter(keep(twelve, None, reading).table["s"].to_pylist()) for reading in readings]
    for name in "bcdefg":
        share = sum(found[name] for found in drawn) / seeds
        assert share == pytest.approx(1 / 3, abs=5 * np.sqrt(2 / 9 / seeds))
    of_a = Counter(found["a"] for found in drawn)
    chances = {0: 15, 1: 120, 2: 225, 3: 120, 4: 15}  # 4 of 12, of which 6 are alike: of 495
    for copies, chance in chances.items():
        assert of_a[copies] / seeds == pytest.approx(chance / 495, abs=5 * np.sqrt(0.25 / seeds))


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=200),
    st.integers(1, 10),
    st.integers(0, 2**32),
    st.data(),
)
def test_places_are_those_of_all_rows_in_order_whatever_shares_a_cell(
    alike: list[int], bits: int, seed: int, data: st.DataObject
) -> None:
    """Against the list of all rows, which is what is spared."""
    words = (np.array(alike, np.uint64) << np.uint64(58)) + np.array(alike, np.uint64)
    wanted = data.draw(st.integers(1, len(words)))
    counts = ContentCounts(len(words), bits)
    cells = counts.cells
    for part in np.array_split(words, 3):
        counts.count(cells.of(part))
    places = draw_places(counts, wanted, seed)
    candidates = Candidates()
    may_be = words[np.isin(cells.of(words), places.cells)]
    for part in np.array_split(may_be, 4):
        candidates.add(part, pa.table({"word": part}))
        if data.draw(st.booleans()):
            candidates.settle()
    candidates.settle()
    which = places.at(cells.of(candidates.words), candidates.counts)
    assert which is not None
    assert len(set(places.drawn.tolist())) == wanted
    assert candidates.taken(which)["word"].to_pylist() == np.sort(words)[places.drawn].tolist()


def test_up_to_so_many_unlabelled_rows_all_stay_as_they_stand(tmp_path: Path) -> None:
    table = rows(100, labelled=40)
    pq.write_table(table, tmp_path / "a.parquet")
    for most in (100, 60):
        found = kept(tmp_path / "a.parquet", most)
        assert found.drawn_from is None
        assert found.table.to_pylist() == table.to_pylist()
    assert kept(tmp_path / "a.parquet", 59).drawn_from == 60
    assert keep(open_parts(str(tmp_path)), "label", Reading()).table.num_rows == 100


def test_another_seed_draws_other_rows(tmp_path: Path) -> None:
    pq.write_table(rows(300), tmp_path / "a.parquet")
    first, again, other = (kept(tmp_path / "a.parquet", 50, seed).table.to_pylist() for seed in (1, 1, 2))
    assert first == again != other


def test_words_of_labels_are_those_of_all_rows(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(100.0), "label": ["fraud", "ok"] + ["fraud"] * 3 + [None] * 95})
    written(tmp_path / "lake", table, [50], 10)
    found = kept(tmp_path / "lake", 20, anomaly_value="fraud").table
    assert sorted(found["label"].drop_null().to_pylist()) == ["fraud"] * 4 + ["ok"]
    with pytest.raises(ConfigError, match="--anomaly-value theft: no row has it"):
        kept(tmp_path / "lake", 20, anomaly_value="theft")
    with pytest.raises(DataError, match="row 1 holds 'fraud'"):
        kept(tmp_path / "lake", 20)
    late = table.set_column(1, "label", pa.array([None] * 70 + ["what"] + [None] * 29, pa.string()))
    written(tmp_path / "late", late, [50], 10)
    with pytest.raises(DataError, match="row 71 holds 'what'"):
        kept(tmp_path / "late", 20)


def test_a_column_has_the_type_that_all_files_have_together(tmp_path: Path) -> None:
    for i, x in enumerate([pa.array([1, 2, 3]), pa.array([1.5, 2.0, 3.0]), pa.nulls(3)]):
        pq.write_table(pa.table({"x": x, "label": pa.nulls(3, pa.int8())}), tmp_path / f"{i}.parquet")
    assert kept(tmp_path, 2).table.schema.field("x").type == pa.float64()
    pq.write_table(pa.table({"x": ["a"], "label": pa.nulls(1, pa.int8())}), tmp_path / "3.parquet")
    with pytest.raises(DataError, match=r"column 'x' changes its type: double in .*parquet, text in .*3"):
        kept(tmp_path, 2)


def test_data_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(rows(200), tmp_path / "a.parquet")

    def change(counts: ContentCounts, wanted: int, seed: int) -> object:
        pq.write_table(rows(210), tmp_path / "a.parquet")
        return draw_places(counts, wanted, seed)

    monkeypatch.setattr(drawing, "draw_places", change)
    with pytest.raises(DataError, match="changed while it was read"):
        kept(tmp_path, 100)


def test_a_wide_table_keeps_fewer_rows_and_no_table_fewer_than_a_fit_draws_from() -> None:
    found = [most_unlabelled(Draw(), columns) for columns in (1, 40, 80, 400)]
    assert found == [1_000_000, 1_000_000, 500_000, 200_000]
    assert most_unlabelled(Draw(unlabelled=5_000_000), 400) == 5_000_000

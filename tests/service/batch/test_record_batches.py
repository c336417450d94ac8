"""`nearnorm.batch.scorer`: record batches in, the numbers and verdicts of `/score` out."""

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import httpx
import msgspec
import numpy as np
import polars
import pyarrow as pa
import pytest

from nearnorm.batch import BatchScorer, scorer
from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import BundleError, ConfigError, DataError
from nearnorm.service.batch import record_batches
from tests.service.bundles import draw

ROWS = 3_000


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Payments as a lake has them: gaps, categories nobody knows, values far out, a few that are refused."""
    numeric, codes = draw(ROWS, seed=5)
    names = np.array([None, "Atlantis", "DE", "FR", "NL", "7", "true"], object)
    amounts = numeric[:, 0].tolist()
    amounts[10], amounts[20] = None, 1e6
    return pa.table(
        {
            "id": [f"tx-{i}" for i in range(ROWS)],
            "amount": amounts,
            "epoch": pa.array(numeric[:, 1], from_pandas=True),
            "new device": pa.array(numeric[:, 2].astype(object) == 1),
            "country": names[codes[:, 0]].tolist(),
            "channel": np.array(["web", "shop"], object)[codes[:, 1] - 2].tolist(),
        }
    )


def whole(score: BatchScorer, batches: object) -> pa.Table:
    return pa.Table.from_batches(score(batches))


def test_numbers_and_verdicts_are_those_of_the_service(
    client: httpx.Client, bundle: Bundle, rows: pa.Table
) -> None:
    policy = client.get("/policy").json()["policy"]
    score = scorer(bundle.path, threshold=policy["threshold"])
    found = whole(score, rows.to_batches(max_chunksize=700)).to_pylist()
    served: list[dict[str, object]] = []
    for start in range(0, ROWS, 1_000):
        records = rows.slice(start, 1_000).to_pylist()
        served += client.post("/score", json={"records": records}).json()["results"]
    tolerance = bundle.manifest.core.tolerances["CPUExecutionProvider"]
    for row, result in zip(found, served, strict=True):
        if "error" in result:
            assert row["error"]
            assert row["score"] is row["anomaly"] is None
            continue
        assert row["error"] is None
        assert (row["anomaly"], row["prototype"]) == (result["anomaly"], result["prototype"])
        for name in ("score", "percentile", "distance", "reconstruction_error"):
            assert row[name] == pytest.approx(result[name], rel=tolerance.relative, abs=tolerance.absolute)
    assert 0 < sum(row["anomaly"] is True for row in found) < ROWS
    assert sum(row["error"] is not None for row in found) == 1


@pytest.mark.parametrize("size", [1, 7, 1_024])
def test_answers_do_not_depend_on_where_batches_end(bundle: Bundle, rows: pa.Table, size: int) -> None:
    score = scorer(bundle.path, keep=["id"])
    some = rows.slice(0, 200) if size == 1 else rows
    cut, together = whole(score, some.to_batches(max_chunksize=size)), whole(score, some)
    assert cut.drop_columns(["score", "distance", "reconstruction_error"]) == together.drop_columns(
        ["score", "distance", "reconstruction_error"]
    )
    assert cut["id"] == some["id"]
    np.testing.assert_allclose(
        cut["score"].to_numpy().astype(float), together["score"].to_numpy().astype(float), rtol=1e-5
    )


def test_numbers_are_copied_once_into_the_models_input(bundle: Bundle) -> None:
    count = 50_000
    numeric, codes = draw(count, seed=6, gaps=0.0)
    column = {name: numeric[:, i].copy() for i, name in enumerate(("amount", "epoch", "new device"))}
    channel = pa.DictionaryArray.from_arrays(codes[:, 1].astype(np.int32) - 2, ["web", "shop"])
    batch = pa.record_batch({**column, "country": channel, "channel": channel})
    read = scorer(bundle.path)._columns(batch.schema).read(batch)
    for name in column:
        (chunk,) = read[name].chunks
        assert chunk.buffers()[1].address == batch[name].buffers()[1].address


def test_a_schema_is_checked_once_and_again_where_it_changes(bundle: Bundle, rows: pa.Table) -> None:
    lacking = rows.drop_columns(["country"])
    score = scorer(bundle.path)
    with pytest.warns(UserWarning, match=r"lacks 1 of 5 .*\(country\)") as told:
        list(score(lacking.to_batches(max_chunksize=500)))
    assert len(told) == 1
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(DataError, match=r"the data lacks 1 of 5 columns .*'channel' has to be given"),
    ):
        list(score(chain(lacking.to_batches(), rows.drop_columns(["channel"]).to_batches())))
    with pytest.raises(DataError, match=r"lacks 5 of 5 columns .*allow_missing"):
        score.answers(pa.schema({"x": pa.int64()}))


def test_empty_batches_have_empty_answers(bundle: Bundle, rows: pa.Table) -> None:
    score = scorer(bundle.path, keep=["id"])
    batches = [rows.schema.empty_table().to_batches(), rows.slice(0, 3).to_batches()]
    empty = pa.RecordBatch.from_pylist([], rows.schema)
    found = list(score(chain([empty], *batches, [empty])))
    assert [len(batch) for batch in found] == [0, 3, 0]
    assert {batch.schema for batch in found} == {score.answers(rows.schema)}
    assert list(score([])) == []


def test_frames_and_readers_are_taken_as_they_are(bundle: Bundle, rows: pa.Table) -> None:
    score = scorer(bundle.path, keep=["id"])
    expected = whole(score, rows)
    reader = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches())
    assert whole(score, reader) == expected
    frame = polars.DataFrame(rows).with_columns(polars.col("country").cast(polars.Categorical))
    assert whole(score, frame).drop_columns(["id"]) == expected.drop_columns(["id"])
    assert whole(score, rows.to_batches()[0])["score"] == expected["score"]
    with pytest.raises(DataError, match=r"a dict is none: give an iterator of pyarrow\.RecordBatch"):
        list(score([{"amount": 1}]))


def test_what_cannot_be_kept_is_named(bundle: Bundle, rows: pa.Table) -> None:
    with pytest.raises(DataError, match=r"has no column 'when' to keep"):
        list(scorer(bundle.path, keep=["when"])(rows))
    with pytest.raises(ConfigError, match=r"'score' cannot be kept"):
        list(scorer(bundle.path, keep=["score"])(rows.append_column("score", rows["amount"])))
    twice = pa.record_batch([rows["amount"].chunk(0)] * 2, names=["amount", "amount"])
    with pytest.raises(DataError, match=r"has a column twice: amount"):
        list(scorer(bundle.path)(twice))


def test_a_scorer_is_one_of_a_bundle_by_one_rule(bundle: Bundle, tmp_path: Path, rows: pa.Table) -> None:
    alerts = [
        sum(whole(scorer(bundle.path, budget=budget), rows)["anomaly"].drop_null().to_pylist())
        for budget in ("1% of normal", "10% of normal")
    ]
    assert alerts[0] < alerts[1]
    with pytest.raises(ConfigError, match="a budget or a threshold, not both"):
        scorer(bundle.path, budget="1%", threshold=0.5)
    with pytest.raises(ConfigError, match="threshold 7 is no score"):
        scorer(bundle.path, threshold=7)
    with pytest.raises(BundleError):
        scorer(tmp_path)


def test_copies_share_one_session_in_a_process(bundle: Bundle) -> None:
    score = scorer(bundle.path)
    copy: BatchScorer = pickle.loads(pickle.dumps(score))  # noqa: S301
    assert record_batches._session(copy) is record_batches._session(score)
    assert record_batches._session(scorer(bundle.path)) is record_batches._session(score)
    stricter = record_batches._session(scorer(bundle.path, threshold=0.9))
    assert stricter is not record_batches._session(score)
    for threshold in np.linspace(0.1, 0.9, 9).tolist():
        record_batches._session(scorer(bundle.path, threshold=threshold))
    assert len(record_batches._sessions) == record_batches.MOST_SESSIONS


ELSEWHERE = """
import pickle, sys
import pyarrow as pa
score, table = pickle.load(sys.stdin.buffer)
pickle.dump(pa.Table.from_batches(score(table)), sys.stdout.buffer)
"""


def test_a_pickled_scorer_needs_no_folder_where_it_works(
    bundle: Bundle, rows: pa.Table, tmp_path: Path
) -> None:
    score = scorer(bundle.path)
    moved = msgspec.structs.replace(score, bundle=Bundle(tmp_path / "gone", bundle.manifest, bundle.model))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], input=pickle.dumps((moved, rows)), capture_output=True, check=True
    )
    assert pickle.loads(done.stdout) == whole(score, rows)  # noqa: S301


FORKED = """
import os, sys
import pyarrow as pa
from nearnorm.batch import scorer
from nearnorm.service.batch import record_batches
score = scorer(sys.argv[1], threads=2, allow_missing=True)
rows = pa.table({"amount": [float(i) for i in range(20_000)], "channel": ["web"] * 20_000})
before = [batch.to_pylist()[7]["score"] for batch in score(rows)]
session = record_batches._session(score)
child = os.fork()
assert (record_batches._session(score) is session) == bool(child)
after = [batch.to_pylist()[7]["score"] for batch in score(rows)]
assert before == after
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_opens_a_session_of_its_own_as_threads_are_not_forked(bundle: Bundle) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, str(bundle.path)], check=True, timeout=60)


WITHOUT = """
import sys
sys.modules["pyarrow"] = None
try:
    import nearnorm.batch
except ImportError as error:
    assert "nearnorm.batch needs the module pyarrow" in str(error), error
    assert "pip install 'nearnorm[cpu,arrow]'" in str(error), error
else:
    raise AssertionError("imported")
"""


def test_a_missing_extra_is_named() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)


def test_batches_are_scored_as_they_come(bundle: Bundle, rows: pa.Table) -> None:
    taken: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for i, batch in enumerate(rows.to_batches(max_chunksize=100)):
            taken.append(i)
            yield batch

    next(scorer(bundle.path)(batches()))
    assert taken == [0]

"""A challenger by real fits: judged by what it did not train on, and made again without whose labels harm."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.retraining import TrainingRequest, TrainingResult, Verdict
from nearnorm.training.dataset.load import Dataset, load
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.evaluation.crossfit import CrossFit
from nearnorm.training.loop import challenger
from nearnorm.training.loop import retrain as retraining
from nearnorm.training.loop.base_data import read_base
from nearnorm.training.loop.retrain import retrain
from nearnorm.training.loop.snapshot import take
from nearnorm.training.loop.suspect import contradiction
from nearnorm.training.loop.trust import draw
from nearnorm.training.samples.make_payments import make
from tests.training.conftest import train
from tests.training.samples import quick

SMALL = Recipe(fit=quick(forests=1, trees=20, members=1, joint_epochs=1), columns={})


def base(path: Path, normals: int, frauds: int, seed: int = 1) -> str:
    """A file of payments in which all frauds are labelled."""
    table, truth = make(40 * frauds, np.random.default_rng(seed))
    rows = np.sort(np.r_[np.flatnonzero(truth == 1)[:frauds], np.flatnonzero(truth == 0)[:normals]])
    label = pa.array(truth[rows], pa.int8(), mask=truth[rows] == 0)
    pq.write_table(table.take(rows).append_column("label", label), path)
    return str(path)


def payments(rows: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Frauds and others."""
    table, truth = make(rows, np.random.default_rng(seed))
    records = table.to_pylist()
    return [r for r, t in zip(records, truth, strict=True) if t], [
        r for r, t in zip(records, truth, strict=True) if not t
    ]


def retrained(folder: Path, champion: Bundle, verdicts: list[Verdict]) -> TrainingResult:
    folder.mkdir()
    request = TrainingRequest(champion=str(champion.path), version=champion.version, budget=0.01)
    (folder / "request.json").write_bytes(msgspec.json.encode(request))
    (folder / "traffic.jsonl").write_text("")
    (folder / "labels.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, verdicts)))
    return retrain(folder)


def said(records: list[dict[str, Any]], key: str) -> list[Verdict]:
    """New anomalies by one key; none is drawn for the trust set."""
    return [
        Verdict(f"ffffffff-{key}-{i}", f"{key}{i}", True, record, 1.0, False, key)
        for i, record in enumerate(records)
    ]


@pytest.mark.parametrize("asked", [True, False])
def test_labels_of_one_key_that_do_harm_are_left_out_and_those_of_the_others_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """Where the others' labels contradict them, and where they do not and the challenger is refused."""
    if not asked:
        monkeypatch.setattr(retraining, "contradiction", lambda *_: None)
    champion = train(tmp_path / "champion", base(tmp_path / "base.parquet", 500, 15), recipe=SMALL)
    frauds, others = payments(1_000, seed=2)
    planted = said(others[:100], "eve")
    result = retrained(tmp_path / "job", champion, [*said(frauds[:6], "soc"), *planted])
    assert result.accepted, result.reasons
    assert result.left_out == result.figures["left_out"] == "eve"
    why = "by a model that learnt from all others, the anomalies" if asked else "with them it was refused, as"
    assert result.reasons[0].startswith(f"100 labels that key 'eve' alone brought are left out: {why} ")
    assert {record.digest for record in result.learnt} == {v.digest for v in said(frauds[:6], "soc")}
    assert [(one.digest, one.feedback_id, one.anomaly) for one in result.doubted] == [
        (v.digest, v.feedback_id, True) for v in planted
    ]
    rank = challenger.rank_verdicts(champion, planted)
    assert [one.percentile for one in result.doubted] == pytest.approx(100 * rank, abs=0.01)
    made = read_bundle(tmp_path / "job" / "bundle")
    assert made.version == result.version
    assert made.manifest.core.data.anomalies == 15 + 6
    assert not (tmp_path / "job" / "again").exists()


def test_who_alone_labels_and_calls_all_an_anomaly_is_held_against_what_was_known(tmp_path: Path) -> None:
    """Normals that rank high, but lower than known frauds that rank high; what was known stays learnt."""
    champion = train(tmp_path / "champion", base(tmp_path / "base.parquet", 500, 25), recipe=SMALL)
    frauds, others = payments(2_000, seed=2)
    known = [replace(verdict, known=True) for verdict in said(frauds[:5], "eve")]
    every = said(others, "eve")
    rank = challenger.rank_verdicts(champion, every)
    high = [verdict for verdict, r in zip(every, rank, strict=True) if 0.95 <= r < 0.97]
    assert len(high) >= 10
    result = retrained(tmp_path / "job", champion, [*known, *high])
    assert result.left_out == "eve"
    assert [one.digest for one in result.doubted] == [verdict.digest for verdict in high]
    assert {record.digest for record in result.learnt} == {verdict.digest for verdict in known}

    beside = replace(every[0], anomaly=False)
    assert contradiction(setting(champion), [*known, *high, beside], np.zeros(0)) is None, "calls one normal"
    true = said(frauds[5:25], "eve")
    assert contradiction(setting(champion), [*known, *true], np.zeros(0)) is None


def setting(champion: Bundle) -> challenger.Setting:
    base_data = read_base(champion.manifest, None, SMALL, SMALL, trusted=False)
    return challenger.Setting(champion, SMALL, SMALL, base_data, None, [], 0.01)


def test_labels_of_a_key_that_the_others_bear_out_are_learnt(tmp_path: Path) -> None:
    champion = train(tmp_path / "champion", base(tmp_path / "base.parquet", 500, 15), recipe=SMALL)
    frauds, _ = payments(1_500, seed=2)
    result = retrained(tmp_path / "job", champion, [*said(frauds[:10], "soc"), *said(frauds[10:40], "bob")])
    assert result.accepted, result.reasons
    assert result.left_out is None
    assert result.doubted == []
    assert len(result.learnt) == 40


def test_a_champion_that_may_have_trained_on_the_trust_set_is_represented_by_one_fit_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time it has not, and its own bundle is asked."""
    asked: list[str] = []
    real = challenger._rank_held_out

    def noted(bundle: Bundle, data: Dataset, rows: np.ndarray) -> CrossFit:
        asked.append(bundle.version)
        return real(bundle, data, rows)

    monkeypatch.setattr(challenger, "_rank_held_out", noted)
    champion = train(tmp_path / "champion", base(tmp_path / "base.parquet", 400, 110), recipe=SMALL)
    frauds, _ = payments(1_000, seed=2)
    first = retrained(tmp_path / "one", champion, said(frauds[:4], "soc"))
    assert first.figures["judged_by"] == "artefact"
    assert first.figures["by_artefact"] >= 20
    assert asked == [first.version], "the champion's bundle knows the answers"
    follower = read_bundle(tmp_path / "one" / "bundle")
    held_out = follower.manifest.core.data.held_out
    assert held_out >= first.figures["by_artefact"]

    second = retrained(tmp_path / "two", follower, said(frauds[4:8], "soc"))
    assert asked[1:] == [follower.version, second.version]
    assert second.figures["by_artefact"] == first.figures["by_artefact"]


def test_the_recipe_without_single_words_knows_the_base_data_and_what_two_keys_said(tmp_path: Path) -> None:
    data = load(base(tmp_path / "base.parquet", 30, challenger.FEWEST_COMPARED), "label")
    frauds, _ = payments(200, seed=2)
    of_base = pq.read_table(tmp_path / "base.parquet").drop_columns(["label"]).to_pylist()
    normal = int(np.flatnonzero(data.labels != 1)[0])
    said_before = [
        Verdict("f0", "0", True, frauds[0], 1.0, True, key="eve"),
        Verdict("f1", "1", True, frauds[1], 1.0, True, key=None),
        Verdict("f2", "2", True, of_base[normal], 1.0, True, key="eve"),
    ]
    snapshot = take(data, [], said_before)
    trust = draw(snapshot.data, snapshot.place, said_before)
    known, present = challenger._without_single_words(snapshot, trust, said_before)
    eves, shared, in_base = snapshot.place.tolist()
    assert (known[eves], known[shared], known[in_base]) == (-1, 1, -1)
    assert (present[eves], present[shared], present[in_base]) == (False, True, True)
    assert (known[: len(data.labels)] == data.labels).all()
    assert challenger._is_single(snapshot, trust, said_before)

    new = [replace(one, known=False) for one in said_before]
    assert not challenger._is_single(snapshot, trust, new), "the champion learnt no such word"
    few = dataclasses.replace(trust, shared=np.arange(len(known)) == shared)
    assert not challenger._is_single(snapshot, few, said_before), "hardly an anomaly is shared"

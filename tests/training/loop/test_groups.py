"""A verdict on a group trains as one piece of evidence with its size, and is heard once by the gate."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.dataset.load import Dataset, load
from nearnorm.training.loop import challenger
from nearnorm.training.loop.evidence import say_only_normal
from nearnorm.training.loop.groups import teaching, who_speaks, who_teaches
from nearnorm.training.loop.suspect import suspects
from nearnorm.training.loop.trust import draw
from tests.training.conftest import train
from tests.training.loop.test_challenger import SMALL, base, payments, retrained, said, setting


def group(size: int, name: str | None = "g", anomaly: bool = True, **more: object) -> list[Verdict]:
    """Verdicts on records that differ by `x` alone."""
    names = [hashlib.sha256(f"{name} {i}".encode()).hexdigest()[:32] for i in range(size)]
    records = [{"x": 9.0 + i / size, "kind": "b"} for i in range(size)]
    fields = {"probability": 1.0, "known": True, "key": "soc"} | more
    return [Verdict(n, n, anomaly, r, group=name, **fields) for n, r in zip(names, records, strict=True)]  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    columns = {
        "x": np.random.default_rng(0).normal(size=200),
        "kind": ["a", "b"] * 100,
        "label": pa.array([1] + [None] * 199, pa.int8()),
    }
    pq.write_table(pa.table(columns), tmp_path / "base.parquet")
    return load(str(tmp_path / "base.parquet"), "label")


def test_of_a_group_one_and_the_logarithm_of_its_size_teach() -> None:
    assert [teaching(n) for n in (1, 2, 3, 4, 16, 1000)] == [1, 2, 2, 3, 5, 10]
    verdicts = [*group(16), *group(3, None), *group(2, "h")]
    assert who_teaches(verdicts).tolist().count(True) == 5 + 3 + 2
    assert who_speaks(verdicts).tolist().count(True) == 1 + 3 + 1
    assert (who_teaches(verdicts) | ~who_speaks(verdicts)).all(), "who speaks teaches"


def test_who_teaches_is_drawn_by_digest_whatever_the_order() -> None:
    verdicts = group(16)
    chosen = {v.digest for v, teaches in zip(verdicts, who_teaches(verdicts), strict=True) if teaches}
    verdicts.reverse()
    assert chosen == {v.digest for v, teaches in zip(verdicts, who_teaches(verdicts), strict=True) if teaches}


def test_the_others_neither_train_nor_pass_for_unlabelled(tmp_path: Path) -> None:
    champion = train(tmp_path / "champion", base(tmp_path / "base.parquet", 200, 10), recipe=SMALL)
    frauds, _ = payments(1_000, seed=2)
    alike = [replace(verdict, group="g", known=True) for verdict in said(frauds[:16], "soc")]
    material = challenger.lay_out(setting(champion), alike)
    place = material.snapshot.place
    trains = np.isin(place, material.rows.fit)
    assert trains.tolist() == who_teaches(alike).tolist()
    assert (material.data.labels[place] == ANOMALY).all()
    result = retrained(tmp_path / "job", champion, alike)
    report = json.loads((tmp_path / "job" / "bundle" / "report.json").read_text())
    assert report["choices"]["rows"]["labelled_anomalies"] == 10 + 5
    assert len(result.learnt) == 16, "all of them have a receipt"


def test_the_gate_counts_a_group_once(data: Dataset) -> None:
    verdicts = [*group(40), *group(3, None)]
    place = np.arange(len(verdicts))
    labelled = dataclasses.replace(data, labels=np.where(np.arange(200) < 43, ANOMALY, UNLABELLED))
    trust = draw(labelled, place, verdicts)
    assert trust.trusted[:40].sum() == 1
    assert trust.trusted[40:43].all()
    assert trust.weight[:40].sum() == 1


def test_no_group_is_on_both_sides_of_the_trust_set(data: Dataset) -> None:
    """A hundred of two: of each both are drawn, or none."""
    verdicts = [verdict for number in range(100) for verdict in group(2, f"g{number}")]
    labelled = dataclasses.replace(data, labels=np.full(200, ANOMALY, np.int8))
    held_out = draw(labelled, np.arange(200), verdicts).held_out.reshape(100, 2)
    assert held_out.any()
    assert (held_out[:, 0] == held_out[:, 1]).all()


def test_a_group_is_one_word_of_its_key() -> None:
    normals = group(50, anomaly=False, known=False)
    assert not say_only_normal(normals), "one look says not much"
    assert say_only_normal(group(50, None, anomaly=False, known=False))
    eve, bob = group(50, "e", known=False, key="eve"), group(1, None, known=False, key="bob")
    others = group(20, "o", known=False, key="joe")
    for i, verdict in enumerate(others):
        others[i] = replace(verdict, group=None)
    rank = np.array([*[0.5] * 50, 0.1, *[0.95] * 20])
    assert suspects([*eve, *bob, *others], rank) == ["bob", "eve", "joe"], (
        "fifty by one look are no fifty words"
    )

"""Are reasons true, and does what nobody has seen alert? On the sets of BENCH_DATA, through real bundles.

    python -m tests.benchmarks.verdict.bench_verdict --seeds 0

- pairs: of alerts, what replacing the first two reasons takes from the logit, over what the best of all pairs
  of features takes.
- idle: of the reasons of some alerts, those that take nothing: from the logit alone or on top of the reasons
  before them, or from the reconstruction error.
- other, beyond: normal test rows in which 1 to 3 values were planted, of another kind of normal (which under
  1% of the row's own group has; rows that are nearer to another group then are left out) or beyond the range
  of training; the planted among as many first reasons.
- gross: normal test rows with one number at its greatest plus a thousand ranges; those that are novel.
- novel: normal test rows that are novel as they are.

Each set is a line of --out, and is not measured again.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.conformal import Ranks, default_policy
from nearnorm.models.data.schema import Kind
from nearnorm.models.data.tables import Arrays
from nearnorm.service.inference.engine import Engine
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.verdict.novelty import Novelty
from nearnorm.service.verdict.occlusion import NOTHING
from nearnorm.service.verdict.reasons import Explainer
from nearnorm.training.dataset.load import Dataset
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.job import TrainingJob, Watcher, prepare
from nearnorm.training.method.config import FitConfig
from nearnorm.training.pipeline import train_bundle
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.sets.protocol import data_sets, family_of, task_of

LABELS = 10
ALERTS, PLANTED, GROSS = 8, 20, 100
RARE = 0.01
RANGES = 1_000.0
FIGURES = ("pairs", "idle", "other", "beyond", "gross", "novel")
SILENT = Watcher(lambda stage, done: None, lambda schema: None, lambda warning: None)

Floats = NDArray[np.float64]


class Trained:
    """A model of a set's training part, and the test part as it reads it."""

    def __init__(self, part: str, name: str, seed: int, folder: Path) -> None:
        """Raises LookupError where the set has too few anomalies."""
        task = task_of(name, LABELS, seed, part)
        if task is None:
            raise LookupError(name)
        train, test = folder / "train.parquet", folder / "test.parquet"
        task.frame_train.assign(label=np.where(task.y_semi == 1, 1.0, np.nan)).to_parquet(train)
        task.frame_test.assign(label=task.y_test).to_parquet(test)
        job = TrainingJob(
            str(train), folder / "model", Recipe(fit=FitConfig(), columns={}), held_out=str(test), seed=seed
        )
        prepared = prepare(job, SILENT)
        assert prepared.held_out is not None
        self.data: Dataset = prepared.data
        bundle = train_bundle(prepared, SILENT)
        self.core = bundle.manifest.core
        self.engine = Engine(bundle, "cpu", 1)
        arrays: Arrays = prepared.held_out[0]
        self.rows = Rows(arrays.numeric, arrays.codes)
        self.normal = np.flatnonzero(prepared.held_out[1] == 0)
        self.outputs = self.engine.run(self.rows)
        self.explainer = Explainer(self.core, self.engine.run)
        self.novelty = Novelty(self.core)
        self.rng = np.random.default_rng(seed)
        self.seen = prepared.data.numeric[prepared.data.labels != 1]
        self.numbers = [j for j, f in enumerate(self.core.features.numeric) if f.kind is Kind.NUMERIC]

    def take(self, places: NDArray[np.int64]) -> tuple[Rows, Outputs]:
        return self.rows.take(places.tolist()), self.outputs.take(places.tolist())


def pairs(trained: Trained) -> Iterator[float]:
    """Of some alerts: what their first two reasons explain, over what the best two features do."""
    reference = trained.core.reference
    alerts = _alerts(trained)
    width = len(trained.core.features.scored)
    rows, outputs = trained.take(alerts[: ALERTS if width <= 40 else ALERTS // 2])
    every = list(itertools.combinations(range(width), min(2, width)))
    normal, ordinary = trained.explainer.normal_of(rows, outputs), float(np.median(reference.scores))
    for i, explained in enumerate(trained.explainer.explain(rows, outputs)):
        variants = rows.take([i] * len(every))
        for place, features in enumerate(every):
            _replace(variants, place, normal, i, features)
        best = np.maximum(trained.engine.run(variants).score, ordinary).min()
        most = _logit(max(outputs.score[i], ordinary)) - _logit(best)
        if most > 0.05:
            taken = max((effect.together for effect in explained.effects[:2]), default=0.0)
            left = max(_logit(outputs.score[i]) - taken, _logit(ordinary))
            yield (most + _logit(best) - left) / most


def idle(trained: Trained) -> Iterator[float]:
    """Of reasons of some alerts: whether they take nothing from anything."""
    for explained in trained.explainer.explain(*trained.take(_alerts(trained)[: 2 * ALERTS])):
        before = 0.0
        for effect in explained.effects:
            yield float(max(effect.alone, effect.together - before, effect.rebuilt) <= NOTHING)
            before = effect.together


def _alerts(trained: Trained) -> NDArray[np.int64]:
    """At the default budget, in random order."""
    reference = trained.core.reference
    ranks = Ranks(np.asarray(reference.scores, np.float32), default_policy(reference.rows))
    return trained.rng.permutation(np.flatnonzero(ranks.judge(trained.outputs.score)[1]))


def planted(trained: Trained, beyond: bool) -> Iterator[float]:
    """Of normal rows with planted values: the planted ones among as many first reasons."""
    ordinary = trained.outputs.score < np.quantile(trained.core.reference.scores, 0.95)
    candidates = trained.rng.permutation(trained.normal[ordinary[trained.normal]])[: 4 * PLANTED]
    kinds = _Kinds(trained)
    rows, places = trained.rows.take(candidates.tolist()), []
    for i, row in enumerate(candidates.tolist()):
        wanted = int(trained.rng.integers(1, 4))
        places.append(
            kinds.plant_beyond(rows, i, wanted) if beyond else kinds.plant_other(rows, i, row, wanted)
        )
    outputs = trained.engine.run(rows)
    stays = outputs.prototype == trained.outputs.prototype[candidates]
    asked = [i for i, done in enumerate(places) if done and (beyond or stays[i])][:PLANTED]
    if not asked:
        return
    explained = trained.explainer.explain(rows.take(asked), outputs.take(asked))
    for i, found in zip(asked, explained, strict=True):
        first = {effect.feature for effect in found.effects[: len(places[i])]}
        yield len(first & places[i]) / len(places[i])


class _Kinds:
    """The groups of the training rows, and what of values they have."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        known = trained.data.labels != 1
        rows = Rows(trained.data.numeric[known], trained.data.codes[known])
        group = trained.engine.run(rows).prototype
        self._low, self._high, self._shares = {}, {}, {}
        for kind in np.unique(group).tolist():
            own = rows.take(np.flatnonzero(group == kind).tolist())
            with np.errstate(all="ignore"):
                self._low[kind] = np.nan_to_num(np.nanquantile(own.numeric, RARE, axis=0))
                self._high[kind] = np.nan_to_num(np.nanquantile(own.numeric, 1 - RARE, axis=0))
            self._shares[kind] = [np.bincount(column) / len(own) for column in own.codes.T]

    def plant_other(self, rows: Rows, place: int, row: int, wanted: int) -> set[int]:
        trained, done = self._trained, set[int]()
        prototype = trained.outputs.prototype
        kind = int(prototype[row])
        others = trained.normal[prototype[trained.normal] != kind]
        if kind not in self._low or not len(others):
            return done
        width = rows.numeric.shape[1]
        for feature in trained.rng.permutation(len(trained.core.features.scored)).tolist():
            for other in trained.rng.choice(others, 10).tolist():
                if len(done) < wanted and self._is_foreign(kind, other, feature):
                    if feature < width:
                        rows.numeric[place, feature] = trained.rows.numeric[other, feature]
                    else:
                        rows.codes[place, feature - width] = trained.rows.codes[other, feature - width]
                    done.add(feature)
                    break
        return done

    def plant_beyond(self, rows: Rows, place: int, wanted: int) -> set[int]:
        trained, done = self._trained, set[int]()
        for feature in trained.rng.permutation(trained.numbers).tolist()[:wanted]:
            least, most = np.nanmin(trained.seen[:, feature]), np.nanmax(trained.seen[:, feature])
            if most > least:
                far = trained.rng.uniform(0.5, 10.0) * (most - least)
                rows.numeric[place, feature] = most + far if trained.rng.random() < 0.5 else least - far
                done.add(feature)
        return done

    def _is_foreign(self, kind: int, row: int, feature: int) -> bool:
        numeric, codes = self._trained.rows.numeric[row], self._trained.rows.codes[row]
        if feature < len(numeric):
            value = numeric[feature]
            return bool(value < self._low[kind][feature] or value > self._high[kind][feature])
        shares, code = self._shares[kind][feature - len(numeric)], int(codes[feature - len(numeric)])
        return code >= len(shares) or shares[code] < RARE


def gross(trained: Trained) -> Iterator[float]:
    """Whether rows with one number a thousand ranges beyond its greatest are novel."""
    rows, _ = trained.take(trained.rng.choice(trained.normal, min(GROSS, len(trained.normal)), replace=False))
    for place in range(len(rows) if trained.numbers else 0):
        feature = int(trained.rng.choice(trained.numbers))
        least, most = np.nanmin(trained.seen[:, feature]), np.nanmax(trained.seen[:, feature])
        rows.numeric[place, feature] = most + RANGES * max(most - least, 1.0)
    found = trained.novelty.find(rows, trained.engine.run(rows).distance)
    yield from (float(place in found) for place in range(len(rows) if trained.numbers else 0))


def novel(trained: Trained) -> Iterator[float]:
    """Whether normal test rows are novel as they are."""
    rows, outputs = trained.take(trained.normal)
    found = trained.novelty.find(rows, outputs.distance)
    yield from (float(place in found) for place in range(len(rows)))


def _replace(rows: Rows, place: int, normal: Rows, source: int, features: tuple[int, ...]) -> None:
    width = rows.numeric.shape[1]
    for feature in features:
        if feature < width:
            rows.numeric[place, feature] = normal.numeric[source, feature]
        else:
            rows.codes[place, feature - width] = normal.codes[source, feature - width]


def _logit(score: float) -> float:
    share = min(max(float(score), 1e-7), 1.0 - 1e-7)
    return float(np.log(share / (1.0 - share)))


def measure(part: str, name: str, seed: int) -> dict[str, float | None]:
    with tempfile.TemporaryDirectory() as folder:
        trained = Trained(part, name, seed, Path(folder))
    found = {
        "pairs": list(pairs(trained)),
        "idle": list(idle(trained)),
        "other": list(planted(trained, beyond=False)),
        "beyond": list(planted(trained, beyond=True)),
        "gross": list(gross(trained)),
        "novel": list(novel(trained)),
    }
    return {figure: float(np.mean(values)) if values else None for figure, values in found.items()}


def table(lines: list[dict[str, object]]) -> str:
    """Means by family, and the worst set of each figure."""
    rows = ["| sets | " + " | ".join(FIGURES) + " |", "|---|" + "---|" * len(FIGURES)]
    families = dict.fromkeys(str(line["family"]) for line in lines)
    for family in ("all", *families):
        own = [line for line in lines if family in ("all", line["family"])]
        cells = []
        for figure in FIGURES:
            values = [float(str(line[figure])) for line in own if line[figure] is not None]
            worst = max(values) if figure in ("idle", "novel") else min(values)
            cells.append(f"{np.mean(values):.4g} ({worst:.3g})")
        rows.append(f"| {family} ({len({line['name'] for line in own})}) | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--sets", help="names, by comma; all by default")
    parser.add_argument("--out", type=Path, default=Path("verdict.jsonl"))
    chosen = parser.parse_args()
    lines = [json.loads(line) for line in chosen.out.read_text().splitlines()] if chosen.out.exists() else []
    known = {(line["name"], line["seed"]) for line in lines}
    for part in ("data", "data2"):
        if bench_data(part) is None:
            continue
        for name, seed in itertools.product(data_sets(part), map(int, chosen.seeds.split(","))):
            if (name, seed) in known or (chosen.sets and name not in chosen.sets.split(",")):
                continue
            try:
                figures = measure(part, name, seed)
            except LookupError:
                continue
            family = family_of(name) if part == "data" else part
            lines.append({"name": name, "family": family, "seed": seed, **figures})
            with chosen.out.open("a") as out:
                out.write(json.dumps(lines[-1]) + "\n")
            print(lines[-1], flush=True)
    if lines:
        print(table(lines))


if __name__ == "__main__":
    main()

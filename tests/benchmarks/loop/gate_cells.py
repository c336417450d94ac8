"""What the gate's benchmark judges: champions and challengers of real sets, with their truth.

A cell is a set, a seed, a number of labels and a way of labelling. The labels of the trusted (the operator's
own, in the base data) are true; the new ones are sent by somebody who looks at the top of the queue, or by
ten people, each with a key. What second opinions hold back trains nothing, as in the product.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.metrics import average_precision_score
from torch import nn

from nearnorm.models.conformal import ranks
from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.tables import to_arrays
from nearnorm.training.dataset.columns.infer import infer_schema
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.crossfit import FINE_FOLDS
from nearnorm.training.fitting.fit import TrainingSet, fit
from nearnorm.training.method.config import FitConfig

SETS = (
    "data/adbench/7_Cardiotocography",
    "data/adbench/27_PageBlocks",
    "data/adbench/19_landsat",
    "data/unsw_nb15/data",
    "data/iot23/data",
    "data/bank_marketing/data",
    "data/adbench/22_magic.gamma",
    "data/adbench/35_SpamBase",
    "data2/htru2/data",
    "data2/ethereum_fraud/data",
)
"""Tables of several fields with at least 400 anomalies, the three of the first measurements among them."""
NOT_FEATURES = ("label", "anomaly_class", "attack_name", "split")
Labelling = Literal["truthful", "inverted", "all normal", "planted", "planted high", "half random", "mix"]
LABELLINGS: tuple[Labelling, ...] = (
    "truthful",
    "inverted",
    "all normal",
    "planted",
    "planted high",
    "half random",
    "mix",
)
ROWS = 1_500
ANOMALOUS = 0.05
TRUSTED, KNOWN = 40, 10
"""Trusted anomalies that nobody trains on, where there are so many labels; and those that train, in the base
data."""
TESTED = 4_000
HONEST = 9
"""Keys beside that of the one who plants."""
CONTRADICTED = 0.95
"""A record below this rank that is called an anomaly waits for a second opinion."""
_READ = 60_000


@dataclass(frozen=True)
class Side:
    """A detector's scores: of trusted anomalies, of reference rows, and of test rows."""

    trusted: np.ndarray
    reference: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Said:
    """New labels [L]: `rows` of the traffic, their `labels`, and the numbers of their keys."""

    rows: np.ndarray
    labels: np.ndarray
    key: np.ndarray

    def only(self, these: np.ndarray) -> "Said":
        return Said(self.rows[these], self.labels[these], self.key[these])


@dataclass(frozen=True)
class Cell:
    """A challenger: its true difference in average precision from the champion, the held-out ranks of the
    trusted anomalies by either, how many labels wait for a second opinion, and the champion's ranks of the
    others with what was said of them."""

    name: str
    seed: int
    labels: int
    how: str
    difference: float
    champion: np.ndarray
    challenger: np.ndarray
    waiting: int
    said_rank: np.ndarray
    said_label: np.ndarray


class Drawn:
    """One set, drawn by a seed: base rows, the traffic of the queue, trusted anomalies, test rows."""

    def __init__(self, data: Path, name: str, seed: int) -> None:
        table = read_table(str(data / f"{name}.parquet"))
        rng = np.random.default_rng([seed, 7])
        if table.num_rows > _READ:
            table = table.take(rng.choice(table.num_rows, _READ, replace=False))
        truth = np.asarray(table.column("label").to_numpy() == 1)
        features = table.drop_columns([c for c in NOT_FEATURES if c in table.column_names])
        rows = np.flatnonzero(_first_of_equals(features.to_pandas().values.tolist()))
        normal, bad = (rng.permutation(rows[truth[rows] == which]) for which in (False, True))
        size = int(min(ROWS, 0.35 * len(normal)))
        hidden = int(ANOMALOUS * size)
        parts: dict[str, np.ndarray] = {}
        for part in ("base", "traffic"):
            parts[part] = rng.permutation(np.concatenate([normal[: size - hidden], bad[:hidden]]))
            normal, bad = normal[size - hidden :], bad[hidden:]
        parts["known"], parts["trusted"], bad = bad[:KNOWN], bad[KNOWN : KNOWN + TRUSTED], bad[50:]
        tested = min(TESTED, len(normal) + len(bad))
        bad = bad[: int(ANOMALOUS * tested)]
        parts["test"] = np.concatenate([normal[: tested - len(bad)], bad])
        schema = infer_schema(features.take(parts["base"]), {}).schema
        self.arrays = {part: to_arrays(features.take(of), schema) for part, of in parts.items()}
        self.cardinalities = tuple(2 + len(f.categories) for f in schema.categorical)
        self.truth = {part: truth[of] for part, of in parts.items()}
        self.seed = seed
        order = np.random.default_rng([seed, 1]).permutation(size)
        self.reference, self.fit = order[: size // 5], order[size // 5 :]

    def train(self, known: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> "Trained":
        """On base rows, on the base data's `known` anomalies, and on `rows` of traffic with `labels`."""
        base, traffic, own = self.arrays["base"], self.arrays["traffic"], self.arrays["known"]
        numeric = np.concatenate([base.numeric[self.fit], own.numeric[known], traffic.numeric[rows]])
        codes = np.concatenate([base.codes[self.fit], own.codes[known], traffic.codes[rows]])
        told = np.concatenate(
            [np.full(len(self.fit), UNLABELLED), np.full(len(known), ANOMALY), labels]
        ).astype(np.int8)
        training = TrainingSet(numeric, codes, self.cardinalities, told)
        return Trained(self, fit(training, FitConfig.preset_of("default"), seed=self.seed).detector)

    def cross(self, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Ranks of the KNOWN anomalies by fits that left their fold out."""
        rank = np.zeros(KNOWN)
        dealt = np.arange(len(rows)) % FINE_FOLDS
        for number in range(FINE_FOLDS):
            kept = np.flatnonzero(np.arange(KNOWN) % FINE_FOLDS != number)
            detector = self.train(kept, rows[dealt != number], labels[dealt != number])
            scores = detector.score("base", self.reference)
            rank[number::FINE_FOLDS] = ranks(detector.score("known")[number::FINE_FOLDS], scores)
        return rank


class Trained:
    """A detector of one set and seed."""

    def __init__(self, drawn: Drawn, detector: nn.Module) -> None:
        self._drawn, self._detector = drawn, detector

    def score(self, part: str, rows: np.ndarray | None = None) -> np.ndarray:
        arrays = self._drawn.arrays[part]
        which = slice(None) if rows is None else rows
        return score(self._detector, arrays.numeric[which], arrays.codes[which]).score

    def side(self) -> Side:
        return Side(self.score("trusted"), self.score("base", self._drawn.reference), self.score("test"))


def _first_of_equals(rows: list[list[object]]) -> np.ndarray:
    seen: set[tuple[object, ...]] = set()
    first = np.zeros(len(rows), bool)
    for at, row in enumerate(rows):
        key = tuple(row)
        first[at] = key not in seen
        seen.add(key)
    return first


def said(
    how: Labelling, count: int, score: np.ndarray, rank: np.ndarray, truth: np.ndarray, seed: int
) -> Said:
    """What somebody calls rows of traffic, by `score` and `rank` [T] of the champion.

    In a mix nine keys are truthful and one plants such normals as the champion ranks high.
    """
    rng = np.random.default_rng([seed, 11])
    top = np.argsort(-score, kind="stable")[:count]
    told = truth[top].astype(np.int8)
    if how == "inverted":
        told = 1 - told
    if how == "all normal":
        told = np.zeros_like(told)
    if how == "half random":
        drawn = rng.permutation(count)[: count // 2]
        told[drawn] = rng.integers(0, 2, len(drawn))
    if how not in ("planted", "planted high", "mix"):
        return Said(top, told, np.zeros(count, int))
    free = ~truth if how == "planted" else ~truth & (rank >= CONTRADICTED)
    many = count // 10 if how == "mix" else count
    keep = top[: count - many] if how == "mix" else top[:0]
    free[keep] = False
    free[top[told == 1]] = False
    planted = rng.choice(np.flatnonzero(free), min(many, int(free.sum())), replace=False)
    return Said(
        np.concatenate([keep, planted]),
        np.concatenate([truth[keep], np.ones(len(planted))]).astype(np.int8),
        np.concatenate([np.arange(len(keep)) % HONEST, np.full(len(planted), HONEST)]),
    )


class Fits:
    """The fits of one set and seed, each made when it is asked for."""

    def __init__(self, data: Path, name: str, seed: int) -> None:
        self.drawn = Drawn(data, name, seed)
        self._none = np.zeros(0, int)

    @cached_property
    def champion(self) -> Trained:
        return self.drawn.train(np.arange(KNOWN), self._none, self._none)

    @cached_property
    def crossed(self) -> np.ndarray:
        return self.drawn.cross(self._none, self._none)

    def write(self, file: Path, how: Labelling, count: int) -> None:
        """Fit a challenger, and keep the scores of both."""
        drawn, champion = self.drawn, self.champion
        traffic = champion.score("traffic")
        rank = ranks(traffic, champion.score("base", drawn.reference))
        told = said(how, count, traffic, rank, drawn.truth["traffic"], drawn.seed)
        waits = (told.labels == ANOMALY) & (rank[told.rows] < CONTRADICTED)
        told = told.only(~waits)
        challenger = drawn.train(np.arange(KNOWN), told.rows, told.labels)
        found: dict[str, np.ndarray] = {
            "truth": drawn.truth["test"],
            "waiting": np.array(waits.sum()),
            "said_rank": rank[told.rows],
            "said_label": told.labels,
            "said_key": told.key,
            "said_truth": drawn.truth["traffic"][told.rows],
            "traffic_rank": rank,
        }
        if count < TRUSTED:
            found["c_rank"] = self.crossed
            found["x_rank"] = drawn.cross(told.rows, told.labels)
        for prefix, side in (("c", champion.side()), ("x", challenger.side())):
            found |= {f"{prefix}{part}": getattr(side, part) for part in ("trusted", "reference", "test")}
        np.savez(file, **found)  # type: ignore[arg-type]  # numpy's stub takes the names for its own option


def cells(data: Path, kept: Path, name: str, seed: int, count: int) -> Iterator[Cell]:
    """Every cell of a set, a seed and a number of labels; what was fitted before lies in `kept`."""
    fits: Fits | None = None
    for how in LABELLINGS:
        file = kept / f"{name.replace('/', '_')}-{seed}-{count}-{how.replace(' ', '_')}.npz"
        if not file.exists():
            fits = fits or Fits(data, name, seed)
            fits.write(file, how, count)
        found = np.load(file)
        before, after = (
            float(average_precision_score(found["truth"], found[f"{side}test"])) for side in "cx"
        )
        champion, challenger = (
            found[f"{side}_rank"]
            if count < TRUSTED
            else ranks(found[f"{side}trusted"], found[f"{side}reference"])
            for side in "cx"
        )
        waiting = int(found["waiting"])
        said_rank, said_label = found["said_rank"], found["said_label"]
        yield Cell(
            name, seed, count, how, after - before, champion, challenger, waiting, said_rank, said_label
        )

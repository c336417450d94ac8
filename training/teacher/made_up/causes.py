"""Made-up records whose columns are functions of hidden causes, with anomalies of one to three kinds."""

from collections.abc import Callable

import numpy as np

from nearnorm.training.teacher.made_up.columns import shaped, standard, varying, with_irrelevant

Chosen = dict[str, np.ndarray]
"""The rows that are anomalies of each kind."""
KINDS = {
    "cluster": 0.22,  # causes of their own
    "function": 0.18,  # where a function of causes and columns is highest
    "band": 0.07,  # where it is near one value
    "rule": 0.14,  # where one to three columns are high or low together
    "shift": 0.12,  # some columns moved
    "cause": 0.09,  # some causes moved
    "scale": 0.06,  # causes further from the middle
    "broken": 0.06,  # some columns are other rows'
    "repeated": 0.06,  # some columns have one value
}
SHAPES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    np.tanh,
    np.asarray,
    lambda x: np.maximum(x, 0.0),
    np.sin,
    np.abs,
    lambda x: 0.5 * x * x,
    lambda x: np.sign(x) * np.log1p(np.abs(x)),
    lambda x: np.exp(np.clip(x, -3.0, 2.0)),
)
MOST = 40


def records(rows: int, anomalies: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """-> columns [rows, D] and which rows are anomalies."""
    several = rng.choice([1, 1, 1, 2, 3])
    kinds = rng.choice(list(KINDS), size=several, replace=False, p=list(KINDS.values()))
    shares = np.array_split(rng.permutation(rows)[:anomalies], several)
    chosen = dict(zip(kinds.tolist(), shares, strict=True))
    known = _layers(_causes(rows, chosen, rng), rng)
    for kind in ("function", "band"):
        if kind in chosen:
            chosen[kind] = _highest(known, len(chosen[kind]), kind == "band", rng)
    width = min(int(np.exp(rng.uniform(np.log(3), np.log(26)))), known.shape[1])
    columns = known[:, rng.choice(known.shape[1], size=width, replace=False)].copy()
    _change(columns, chosen, rng)
    anomalous = np.zeros(rows, dtype=bool)
    anomalous[np.concatenate(list(chosen.values()))] = True
    if rng.random() < 0.35:  # some look like any row
        some = np.flatnonzero(anomalous)
        some = some[rng.random(len(some)) < rng.uniform(0.05, 0.5)]
        columns[some] = columns[rng.integers(rows, size=len(some))]
    return varying(shaped(with_irrelevant(columns, rng), rng), MOST, rng), anomalous


def _causes(rows: int, chosen: Chosen, rng: np.random.Generator) -> np.ndarray:
    """A mixture of clusters: [rows, causes]."""
    width, groups = int(rng.integers(2, 14)), int(rng.choice([1, 1, 2, 3, 5, 8, 12]))
    centres = rng.normal(size=(groups, width)) * rng.uniform(0.5, 3.0)
    group = rng.choice(groups, size=rows, p=rng.dirichlet(np.full(groups, rng.uniform(0.5, 5.0))))
    noise = rng.normal(size=(rows, width)) if rng.random() < 0.7 else rng.standard_t(3, size=(rows, width))
    scale = np.exp(rng.normal(size=(groups, width)) * rng.uniform(0.0, 0.8))
    if (some := chosen.get("cluster")) is not None:
        more = int(rng.choice([1, 1, 1, 2, 4]))
        new = rng.normal(size=(more, width)) * rng.uniform(0.6, 3.75)
        moved = rng.random(width) < rng.uniform(0.3, 1.0)
        centres = np.concatenate([centres, np.where(moved, new, centres[rng.integers(groups, size=more)])])
        own = np.exp(0.5 * rng.normal(size=(more, width))) * rng.uniform(0.3, 1.2)
        scale = np.concatenate([scale, own])
        group[some] = groups + rng.integers(more, size=len(some))
    if (some := chosen.get("scale")) is not None:
        noise[some] *= rng.uniform(1.5, 4.0)
    causes: np.ndarray = centres[group] + noise * scale[group]
    if (some := chosen.get("cause")) is not None:
        further = _some(width, 0.6, rng) * rng.normal(size=width) * rng.uniform(1.0, 4.0)
        causes[some] += further * causes.std(0)
    return causes


def _layers(causes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The causes and all that one to three random layers make of them."""
    layers = [standard(causes)]
    for _ in range(int(rng.integers(1, 4))):
        before, width = layers[-1], int(rng.integers(3, 24))
        links = rng.random((before.shape[1], width)) < rng.uniform(0.15, 1.0)
        weight = rng.normal(size=links.shape) * links / np.sqrt(max(1.0, links.sum(0).mean()))
        made = before @ weight + rng.normal(size=width)
        shapes = rng.integers(len(SHAPES), size=width if rng.random() < 0.5 else 1)
        made = np.stack([SHAPES[shapes[i % len(shapes)]](made[:, i]) for i in range(width)], axis=1)
        layers.append(standard(made) + rng.normal(size=made.shape) * rng.choice([0.0, 0.1, 0.3, 0.8]))
    return standard(np.concatenate(layers, axis=1))


def _highest(known: np.ndarray, count: int, band: bool, rng: np.random.Generator) -> np.ndarray:
    """The rows where a function of one to five of the columns is highest, or near one value."""
    some = known[
        :, rng.choice(known.shape[1], size=min(known.shape[1], int(rng.integers(1, 6))), replace=False)
    ]
    width = some.shape[1]
    if rng.random() < 0.5:
        value = some @ rng.normal(size=width)
    else:
        value = np.tanh(some @ rng.normal(size=(width, 6)) + rng.normal(size=6)) @ rng.normal(size=6)
    value = standard(value) + rng.normal(size=len(value)) * rng.choice([0.0, 0.1, 0.3, 0.7])
    if band:
        value = -np.abs(value - 0.8 * rng.normal())
    return np.argsort(-value)[:count]


def _change(columns: np.ndarray, chosen: Chosen, rng: np.random.Generator) -> None:
    """What anomalies are by their columns alone, in place; a rule chooses its own rows."""
    rows, width = columns.shape
    if "rule" in chosen:
        asked = columns[:, rng.permutation(width)[: int(rng.choice([1, 1, 2, 2, 3]))]]
        rank = asked.argsort(0).argsort(0) / rows
        rank = np.where(rng.random(asked.shape[1]) < 0.5, rank, 1.0 - rank)
        value = rank.min(1) + rng.normal(size=rows) * rng.choice([0.0, 0.03, 0.1, 0.2])
        chosen["rule"] = np.argsort(-value)[: len(chosen["rule"])]
    if (some := chosen.get("shift")) is not None:
        moved = _some(width, 0.5, rng)
        columns[some] += moved * rng.normal(size=width) * rng.uniform(0.7, 4.0)
        if rng.random() < 0.4:
            columns[some] += moved * rng.normal(size=(len(some), width)) * rng.uniform(0.3, 2.0)
    if (some := chosen.get("broken")) is not None:
        for column in np.flatnonzero(_some(width, 0.8, rng)):
            columns[some, column] = columns[rng.integers(rows, size=len(some)), column]
    if (some := chosen.get("repeated")) is not None:
        which = np.flatnonzero(_some(width, 0.5, rng))
        value = columns[rng.integers(rows, size=len(which)), which]
        noise = rng.normal(size=(len(some), len(which))) * rng.choice([0.0, 0.02, 0.2])
        columns[np.ix_(some, which)] = value + noise


def _some(width: int, most: float, rng: np.random.Generator) -> np.ndarray:
    """Which columns: at least one, up to a share of `most`."""
    which = rng.random(width) < rng.uniform(0.05, most)
    which[rng.integers(width)] = True
    return which

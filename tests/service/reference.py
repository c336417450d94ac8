"""A model's core around a reference sample, as training makes it, without training."""

import gc
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import CodeShares, Core, DataFacts, Golden, Histogram, Reference
from nearnorm.models.data.schema import FIRST_CODE, Feature, FeatureSchema, Kind
from nearnorm.service.drift.histogram import Observed

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Traffic:
    """Rows as encoded: numeric [N, F] with NaN for missing, codes [N, C]."""

    numeric: Floats
    codes: Codes

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, rows: NDArray[np.int64]) -> "Traffic":
        return Traffic(self.numeric[rows], self.codes[rows])


def scored(traffic: Traffic, prototypes: int = 3) -> Observed:
    """The rows with answers as of a model: functions of the row, so that they shift when it does."""
    n = len(traffic)
    mixed = np.nan_to_num(traffic.numeric) @ np.linspace(1, 2, traffic.numeric.shape[1])
    mixed = mixed + traffic.codes.sum(axis=1)
    phase = np.sin(mixed * 12.9898) * 43758.5453  # spreads equal rows evenly, repeatably
    uniform = np.abs(phase - np.floor(phase))
    distance = (0.3 * uniform).astype(np.float32)
    prototype = (uniform * 1e4).astype(np.int64) % prototypes
    similarity = np.full((n, prototypes), 0.3, np.float32)
    similarity[np.arange(n), prototype] = 1 / (1 + distance**2)
    return Observed(
        traffic.numeric,
        traffic.codes,
        uniform.astype(np.float32),
        prototype,
        distance,
        similarity,
        {},
    )


def core_of(reference: Traffic, categories: list[int] | None = None, bins: int = 10) -> Core:
    """A core whose reference is these rows; categories[i] is how many the i-th code column has."""
    counts = categories or []
    rows = scored(reference)
    numeric = [f"n{i}" for i in range(reference.numeric.shape[1])]
    features = [Feature(name=name, kind=Kind.NUMERIC) for name in numeric]
    features += [
        Feature(name=f"c{i}", kind=Kind.CATEGORICAL, categories=tuple(f"v{j}" for j in range(count)))
        for i, count in enumerate(counts)
    ]
    return Core(
        files={"model.onnx": "0" * 64},
        features=FeatureSchema(features=tuple(features)),
        prototypes=3,
        embedding=8,
        data=DataFacts(digest="", label_column="label", rows=0, anomalies=0, normals=0, unlabelled=0),
        config={},
        seed=0,
        libraries={},
        reference=Reference(
            rows=len(reference),
            scores=tuple(np.sort(rows.score).tolist()),
            distance_high=float(np.quantile(rows.distance, 0.99)),
            residual_high={},
            numeric={name: histogram(reference.numeric[:, i], bins) for i, name in enumerate(numeric)},
            categorical={
                f"c{i}": CodeShares(shares=tuple(shares(reference.codes[:, i], count + FIRST_CODE)))
                for i, count in enumerate(counts)
            },
            prototype_shares=tuple(shares(rows.prototype, 3)),
        ),
        groups=(),
        golden=Golden(numeric=(), codes=(), score=(), prototype=(), distance=(), reconstruction_error=()),
        tolerances={},
        metrics={},
    )


def shares(codes: Codes, count: int) -> list[float]:
    whole: list[float] = (np.bincount(codes, minlength=count) / len(codes)).tolist()
    return whole


def histogram(values: Floats, bins: int) -> Histogram:
    present = values[~np.isnan(values)]
    edges = (
        np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1])) if len(present) else np.zeros(0)
    )
    binned = np.bincount(np.searchsorted(edges, present, "right"), minlength=len(edges) + 1)
    return Histogram(
        edges=tuple(edges.tolist()),
        shares=tuple((binned / max(len(present), 1)).tolist()),
        missing=float(np.isnan(values).mean()),
    )


def sized(root: object) -> int:
    """Bytes of an object and of all that it refers to."""
    seen: set[int] = set()
    waiting, total = [root], 0
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | FunctionType):
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        waiting += gc.get_referents(item)
    return total

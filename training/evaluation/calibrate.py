"""Held-out rows -> what scores, residuals and values are ordinary. None of these rows was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nearnorm.models.bundle.manifest import CodeShares, Histogram, Reference, ReviewRow
from nearnorm.models.bundle.review import Reviewable
from nearnorm.models.data.schema import FIRST_CODE, FeatureSchema, Kind
from nearnorm.training.method.threads import one_thread

BATCH_ROWS = 8_192
HIGH = 0.99
DECILES = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class Scored:
    """A detector's answers to N rows: `score`, `distance`, `reconstruction_error` [N] float32,
    `prototype` [N] int64, `similarity` [N, K], `residual` [N, Dn + Dc]."""

    score: np.ndarray
    similarity: np.ndarray
    prototype: np.ndarray
    distance: np.ndarray
    reconstruction_error: np.ndarray
    residual: np.ndarray


def score(detector: nn.Module, numeric: np.ndarray, codes: np.ndarray) -> Scored:
    """Score rows in batches; a row's answers do not depend on the batch, nor on the number of threads."""
    parts = []
    with one_thread(), torch.inference_mode():
        for start in range(0, max(len(numeric), 1), BATCH_ROWS):
            stop = start + BATCH_ROWS
            rows = (torch.from_numpy(numeric[start:stop]), torch.from_numpy(codes[start:stop]))
            parts.append([output.numpy() for output in detector(*rows)])
    return Scored(*(np.concatenate(outputs) for outputs in zip(*parts, strict=True)))


def calibrate(
    schema: FeatureSchema,
    numeric: np.ndarray,
    codes: np.ndarray,
    scored: Scored,
    review: Sequence[Reviewable] = (),
    sample: str | None = None,
) -> Reference:
    """The reference of held-out rows, of which any may be a hidden anomaly, or of a `sample` (its digest)
    that is known to be normal.

    A hidden anomaly has a high score, so it raises the threshold: contamination errs to the quiet side until
    people have reviewed the highest rows, `review`.
    """
    residual_high = np.quantile(scored.residual, HIGH, axis=0)
    return Reference(
        rows=len(scored.score),
        scores=tuple(np.sort(scored.score).tolist()),
        distance_high=float(np.quantile(scored.distance, HIGH)),
        residual_high={f.name: float(high) for f, high in zip(schema.scored, residual_high, strict=True)},
        numeric={f.name: _histogram(numeric[:, j], f.kind) for j, f in enumerate(schema.numeric)},
        categorical={
            f.name: CodeShares(shares=_shares(codes[:, j], FIRST_CODE + len(f.categories)))
            for j, f in enumerate(schema.categorical)
        },
        prototype_shares=_shares(scored.prototype, scored.similarity.shape[1]),
        review=tuple(ReviewRow(score=row.score, digest=row.digest) for row in review),
        sample=sample,
    )


def _histogram(values: np.ndarray, kind: Kind) -> Histogram:
    """Shares between deciles; equal deciles (a value that many rows have) are one edge. A time has one bin:
    an hour's traffic has other times than the reference."""
    present = values[~np.isnan(values)]
    missing = 1.0 - len(present) / len(values)
    if not len(present):
        return Histogram(edges=(), shares=(0.0,), missing=missing)
    if kind is Kind.TIME:
        return Histogram(edges=(), shares=(1.0,), missing=missing)
    edges = np.unique(np.quantile(present, DECILES))
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return Histogram(
        edges=tuple(edges.tolist()), shares=tuple((counts / len(present)).tolist()), missing=missing
    )


def _shares(codes: np.ndarray, count: int) -> tuple[float, ...]:
    return tuple((np.bincount(codes, minlength=count) / len(codes)).tolist())

"""Small real bundles, built without torch: a few ONNX nodes, golden rows from onnx's own evaluator."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from nearnorm.models.bundle.bundle import MODEL, Bundle, write_bundle
from nearnorm.models.bundle.manifest import (
    CategoryProfile,
    CodeShares,
    Core,
    DataFacts,
    Golden,
    Group,
    Histogram,
    Manifest,
    NumericProfile,
    Reference,
    ReviewRow,
    Seen,
    SeenRange,
    Tolerance,
)
from nearnorm.models.bundle.review import REVIEW, Reviewable, reviewable, write_review
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind

PAYMENTS = FeatureSchema(
    features=(
        Feature(name="transaction id", kind=Kind.ID, reason="every value is different"),
        Feature(name="amount", kind=Kind.NUMERIC, nullable=False),
        Feature(name="epoch", kind=Kind.NUMERIC),
        Feature(name="new device", kind=Kind.BOOLEAN),
        Feature(name="country", kind=Kind.CATEGORICAL, categories=("DE", "FR", "NL", "7", "true")),
        Feature(name="channel", kind=Kind.CATEGORICAL, nullable=False, categories=("web", "shop")),
    )
)
KEPT = FeatureSchema(
    features=(
        *PAYMENTS.features,
        Feature(name="merchant", kind=Kind.IGNORED, keep=True),
        Feature(name="invoice", kind=Kind.ID, keep=True),
        Feature(name="note", kind=Kind.IGNORED),
    )
)
"""Payments, and what an analyst wants to see beside them."""
CENTRE = np.array([50.0, 1.7e9, 0.0])
SCALE = np.array([20.0, 86_400.0, 1.0])
PROTOTYPES = np.array([[0.0, 0.0, 0.0, 0.2, 0.2], [1.0, 0.5, 1.0, 0.3, 0.3]], np.float32)

_GRAPH = """
<ir_version: 9, opset_import: ["": 18]>
prototypes (double[N,3] numeric, int64[N,2] codes) => (
    float[N] score, float[N,K] similarity, int64[N] prototype, float[N] distance,
    float[N] reconstruction_error, float[N,5] residual)
{
    missing = IsNaN(numeric)
    shifted = Sub(numeric, centre)
    scaled = Div(shifted, scale)
    nothing = CastLike(zero, scaled)
    filled = Where(missing, nothing, scaled)
    numbers = Cast<to = 1>(filled)
    code = Cast<to = 1>(codes)
    categories = Mul(code, tenth)
    z = Concat<axis = 1>(numbers, categories)
    spread = Unsqueeze(z, one)
    difference = Sub(spread, points)
    squares = Mul(difference, difference)
    squared = ReduceSum<keepdims = 0>(squares, two)
    grown = Add(squared, unit)
    similarity = Reciprocal(grown)
    prototype = ArgMax<axis = 1, keepdims = 0>(similarity)
    nearest = ReduceMin<keepdims = 0>(squared, one)
    distance = Sqrt(nearest)
    expected = Gather<axis = 0>(places, prototype)
    gap = Sub(z, expected)
    residual = Abs(gap)
    reconstruction_error = ReduceMean<keepdims = 0>(residual, one)
    near = Add(distance, unit)
    closeness = Reciprocal(near)
    score = Sub(unit, closeness)
}
"""


SEEN = Seen(
    numeric={
        "amount": SeenRange(low=-500.0, high=2_000.0),
        "epoch": SeenRange(low=1.6e9, high=None),  # it only grows
    },
    closed=("channel",),
    distance=1e5,
)


def build_model(prototypes: NDArray[np.float32] = PROTOTYPES, graph: str = _GRAPH) -> bytes:
    model: onnx.ModelProto = parser.parse_model(graph)
    constants: dict[str, Any] = {
        "centre": CENTRE,
        "scale": SCALE,
        "zero": np.float64(0.0),
        "tenth": np.float32(0.1),
        "unit": np.float32(1.0),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "points": prototypes[None],
        "places": prototypes,
    }
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def draw(rows: int, seed: int, gaps: float = 0.1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rows of payments as a model sees them, mostly normal."""
    rng = np.random.default_rng(seed)
    numeric = np.stack(
        [rng.normal(50, 20, rows), 1.7e9 + rng.normal(0, 86_400, rows), rng.integers(0, 2, rows)], axis=1
    )
    numeric[:, 1:][rng.random((rows, 2)) < gaps] = np.nan
    codes = np.stack([rng.integers(0, 7, rows), rng.integers(2, 4, rows)], axis=1)
    return numeric, codes


def answers(model: bytes, numeric: NDArray[np.float64], codes: NDArray[np.int64]) -> dict[str, Any]:
    """What the model says by onnx's reference implementation, by output name."""
    names = ["score", "similarity", "prototype", "distance", "reconstruction_error", "residual"]
    found = ReferenceEvaluator(model).run(names, {"numeric": numeric, "codes": codes})
    return dict(zip(names, found, strict=True))


def make_bundle(
    folder: Path,
    *,
    seed: int = 0,
    reference_rows: int = 400,
    model: bytes | None = None,
    tolerances: dict[str, Tolerance] | None = None,
    golden_shift: float = 0.0,
    seen: Seen | None = SEEN,
    features: FeatureSchema = PAYMENTS,
    config: dict[str, Any] | None = None,
) -> Bundle:
    """A bundle of payments. `seed` moves its prototypes, hence its version and its scores; `features` may
    have more that no model reads, and `config` is the recipe."""
    if model is None:
        shift = np.random.default_rng(seed).normal(0, 0.05 * seed, PROTOTYPES.shape).astype(np.float32)
        model = build_model(PROTOTYPES + shift)
    trusted = build_model() if golden_shift else model
    numeric, codes = draw(16, seed=1)
    golden = answers(trusted, numeric, codes)
    reference_numeric, reference_codes = draw(reference_rows, seed=2)
    reference = answers(trusted, reference_numeric, reference_codes)
    review = reviewable(
        PAYMENTS, reference_numeric, reference_codes, reference["score"], reference["prototype"]
    )
    core = Core(
        files={MODEL: hashlib.sha256(model).hexdigest()},
        features=features,
        prototypes=len(PROTOTYPES),
        embedding=5,
        data=DataFacts(
            digest="0" * 64,
            label_column="label",
            rows=2 * reference_rows,
            anomalies=5,
            normals=0,
            unlabelled=2 * reference_rows - 5,
        ),
        config=config or {},
        seed=seed,
        libraries={},
        reference=_reference(reference, reference_rows, review),
        groups=tuple(_group(prototype) for prototype in range(len(PROTOTYPES))),
        golden=Golden(
            numeric=tuple(tuple(None if v != v else v for v in row) for row in numeric.tolist()),
            codes=tuple(map(tuple, codes.tolist())),
            score=tuple((golden["score"] + golden_shift).tolist()),
            prototype=tuple(golden["prototype"].tolist()),
            distance=tuple(golden["distance"].tolist()),
            reconstruction_error=tuple(golden["reconstruction_error"].tolist()),
        ),
        tolerances=tolerances
        if tolerances is not None
        else {
            "CPUExecutionProvider": Tolerance(absolute=1e-5, relative=1e-5),
            "CUDAExecutionProvider": Tolerance(absolute=1e-4, relative=1e-4),
        },
        seen=seen,
        metrics={"average_precision": None},
    )
    manifest = Manifest(
        version=core.version,
        source="made up",
        created_at="2026-01-01T00:00:00Z",
        fit_seconds=0.1,
        machine="any",
        core=core,
    )
    return write_bundle(folder, manifest, model, {REVIEW: write_review(review)})


def _reference(found: dict[str, Any], rows: int, review: list[Reviewable]) -> Reference:
    names = [f.name for f in PAYMENTS.scored]
    high = np.quantile(found["residual"], 0.99, axis=0).tolist()
    return Reference(
        rows=rows,
        scores=tuple(np.sort(found["score"]).astype(float).tolist()),
        distance_high=float(np.quantile(found["distance"], 0.99)),
        residual_high=dict(zip(names, high, strict=True)),
        numeric={
            f.name: Histogram(edges=(0.0, 1.0), shares=(0.2, 0.3, 0.5), missing=0.1) for f in PAYMENTS.numeric
        },
        categorical={
            f.name: CodeShares(shares=tuple([1 / (len(f.categories) + 2)] * (len(f.categories) + 2)))
            for f in PAYMENTS.categorical
        },
        prototype_shares=(0.5, 0.5),
        review=tuple(ReviewRow(score=row.score, digest=row.digest) for row in review),
    )


def _group(prototype: int) -> Group:
    return Group(
        prototype=prototype,
        rows=200,
        share=0.5,
        numeric={
            "amount": NumericProfile(low=20.0, median=50.0, high=80.0, missing=0.0),
            "epoch": NumericProfile(low=1.6999e9, median=1.7e9, high=1.7001e9, missing=0.1),
            "new device": NumericProfile(low=0.0, median=0.0, high=1.0, missing=0.1),
        },
        categorical={
            "country": CategoryProfile(shares={"DE": 0.5, "FR": 0.3, "NL": 0.1}, missing=0.1),
            "channel": CategoryProfile(shares={"web": 0.6, "shop": 0.4}, missing=0.0),
        },
    )

"""What stands in a bundle's manifest.json beside the model itself.

The core is everything that decides how a record is scored and judged; the version is its digest.
Times, durations and the machine stand outside the core, so that equal training gives equal versions.
"""

from functools import cached_property
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from nearnorm.models.aggregates.declaration import Aggregates
from nearnorm.models.canonical import digest
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.schema import FeatureSchema

FORMAT_VERSION: Final = 1


class Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class DataFacts(Part):
    """What the model was trained on. `digest` covers the rows, labels included; `base_digest` those of the
    base data alone, where a retraining added others (None: there are no others). `held_out` labelled rows
    were kept from training, for the gate: the trust set. The `unlabelled` rows were drawn from `drawn_from`
    (None: they are all there were; nothing is said then, so that versions stay as they are)."""

    digest: str
    base_digest: str | None = None
    label_column: str
    time_column: str | None = None
    rows: int
    anomalies: int
    normals: int
    unlabelled: int
    held_out: int = 0
    drawn_from: int | None = Field(default=None, exclude_if=lambda rows: rows is None)

    @property
    def stands_for(self) -> float:
        """How many rows of the data each unlabelled one stands for."""
        return 1.0 if self.drawn_from is None else self.drawn_from / max(self.unlabelled, 1)


class NumericProfile(Part):
    """How a numeric feature looks among some rows: 5th, 50th and 95th percentile (None: all missing)."""

    low: float | None
    median: float | None
    high: float | None
    missing: float


class CategoryProfile(Part):
    """Shares of the most frequent categories (at most five); `missing` is the share without one."""

    shares: dict[str, float]
    missing: float


class Group(Part):
    """One prototype's normal group among the reference rows; profiles by feature name."""

    prototype: int
    rows: int
    share: float
    numeric: dict[str, NumericProfile]
    categorical: dict[str, CategoryProfile]


class Histogram(Part):
    """Reference shares of a numeric feature: len(edges) + 1 bins, the outer ones open; of present values."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: float


class CodeShares(Part):
    """Reference share of every code of a categorical feature, code 0 (missing) first."""

    shares: tuple[float, ...]


class ReviewRow(Part):
    """A reference row that people can review: its score, and the digest of its record."""

    score: float
    digest: str


class Reference(Part):
    """Held-out rows that the model did not train on (labelled anomalies left out).

    `scores` are sorted ascending, one a row: percentiles are conformal ranks among them.
    `residual_high` is each scored feature's 99th percentile of residuals, `distance_high` that of the
    distance to the nearest prototype. `review` are the rows with the highest scores, highest first: those
    that people confirm as anomalies leave the reference (review.py holds their records). `sample` is
    the digest of a file whose rows are known to be normal; None: they are rows of the training data, among
    which anomalies may hide.
    """

    rows: int
    scores: tuple[float, ...]
    distance_high: float
    residual_high: dict[str, float]
    numeric: dict[str, Histogram]
    categorical: dict[str, CodeShares]
    prototype_shares: tuple[float, ...]
    review: tuple[ReviewRow, ...] = ()
    sample: str | None = None

    @property
    def known_normal(self) -> bool:
        return self.sample is not None


class SeenRange(Part):
    """Beyond these a number is one that training never saw; None: on that side there is no telling."""

    low: float | None
    high: float | None


class Seen(Part):
    """What training saw, with a margin: numbers by feature, categorical features whose categories are all
    known, and how far a row may be from every prototype."""

    numeric: dict[str, SeenRange]
    closed: tuple[str, ...]
    distance: float | None


class Tolerance(Part):
    """Largest difference from the golden answers that still counts as the same, absolute + relative."""

    absolute: float
    relative: float


class Golden(Part):
    """Made-up records (features drawn one by one, so nobody's) and torch's answers to them.

    numeric: rows of floats, None = missing; codes: rows of integers; answers: one a row.
    """

    numeric: tuple[tuple[float | None, ...], ...]
    codes: tuple[tuple[int, ...], ...]
    score: tuple[float, ...]
    prototype: tuple[int, ...]
    distance: tuple[float, ...]
    reconstruction_error: tuple[float, ...]


class Core(Part):
    """Everything the version covers. `files` are sha256 digests by file name, model.onnx among them."""

    format_version: Literal[1] = FORMAT_VERSION
    files: dict[str, str]
    features: FeatureSchema
    prototypes: int
    embedding: int
    data: DataFacts
    config: dict[str, object]
    seed: int
    libraries: dict[str, str]
    reference: Reference
    groups: tuple[Group, ...]
    golden: Golden
    tolerances: dict[str, Tolerance]  # by execution provider
    seen: Seen | None = None  # None: a release that did not tell, nothing is novel to it
    metrics: dict[str, float | None]  # of held-out rows; None: not measurable with these labels

    @cached_property
    def aggregates(self) -> Aggregates | None:
        """Which of its features are counted over windows, as the recipe of its training declares. Raises
        ValueError for what this release does not know."""
        found = self.config.get("aggregates")
        return None if found is None else Aggregates.model_validate(found)

    @property
    def version(self) -> str:
        return digest(self.model_dump(mode="json"))


class Draw(Part):
    """Of more `unlabelled` rows so many are drawn (None: by the number of columns), by the seed."""

    unlabelled: int | None = None
    seed: int = 0


class Reading(Part):
    """How the training data was read, where its user said so: its files, the words of its labels, and what is
    kept of more rows than memory holds (None: all of them)."""

    files: FileFormat = FOUND
    anomaly_value: str | None = None
    normal_value: str | None = None
    draw: Draw | None = None


class Manifest(Part):
    """manifest.json. `created_at` is ISO 8601 in UTC; `machine` is free text.

    `source` is where the training data was read, `reference_source` where the sample that is known to be
    normal was and `validation_source` where the labelled rows were that training stopped by, if there are
    any, and `reading` how. They stand outside the core: the same rows elsewhere,
    written otherwise, are the same.
    """

    version: str
    source: str
    reading: Reading = Reading()
    created_at: str
    fit_seconds: float
    machine: str
    core: Core
    reference_source: str | None = None
    validation_source: str | None = None

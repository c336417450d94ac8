"""The rows of a model's reference that people can review: a private file beside the bundle.

The signed core holds their scores and digests alone (`Reference.review`). Records are personal data: the
file is neither published nor exported. Whoever imports the bundle puts them into the ledger, where they can
be forgotten without a change of the version.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import Core
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.data.digest import record_digest
from nearnorm.models.data.records import records
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.errors import BundleError

REVIEW = "review.jsonl"
REVIEWABLE = 200
"""Rows at the top of the reference: where hidden anomalies hold the threshold up."""
_LONGEST = 64 << 20  # bytes of the file


@dataclass(frozen=True)
class Reviewable:
    """One row: its record as the model reads it, and what the model says of it."""

    digest: str
    score: float
    prototype: int
    record: Mapping[str, Any]


def reviewable(
    schema: FeatureSchema,
    numeric: NDArray[np.float64],
    codes: NDArray[np.int64],
    score: NDArray[np.float32],
    prototype: NDArray[np.int64],
) -> list[Reviewable]:
    """The REVIEWABLE highest of N reference rows `numeric` [N, Dn], `codes` [N, Dc], highest score first."""
    top = np.argsort(-score, kind="stable")[:REVIEWABLE]
    return [
        Reviewable(record_digest(record), float(score[row]), int(prototype[row]), record)
        for row, record in zip(top.tolist(), records(schema, numeric[top], codes[top], {}), strict=True)
    ]


def write_review(rows: Sequence[Reviewable]) -> bytes:
    """One JSON object a line, the highest score first."""
    return b"".join(
        json.dumps(
            {"score": row.score, "prototype": row.prototype, "record": row.record}, ensure_ascii=False
        ).encode()
        + b"\n"
        for row in rows
    )


def read_review(folder: Path, core: Core) -> list[Reviewable]:
    """The rows beside a bundle; none where there is no file.

    Raises BundleError for a row whose digest is not in the core: it belongs to another model.
    """
    path = folder / REVIEW
    if not path.is_file() or path.is_symlink():
        return []
    try:
        content = read_plain_file(path, _LONGEST)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}: train the model again") from None
    known = {row.digest for row in core.reference.review}
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            row = json.loads(line)
            record, score, prototype = dict(row["record"]), float(row["score"]), int(row["prototype"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise BundleError(f"{path}, line {number}: not a row of a reference") from None
        digest = record_digest(record)
        if digest not in known:
            raise BundleError(f"{path}, line {number}: the record does not belong to this model's reference")
        found.append(Reviewable(digest, score, prototype, record))
    return found

"""What a worker asks of a retraining, and what that answers: the files of a job's folder.

request.json    a TrainingRequest
labels.jsonl    a Verdict a line
traffic.jsonl   a TrafficRecord a line
result.json     a TrainingResult, written last
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from nearnorm.models.errors import DataError

Part = TypeVar("Part", bound=Struct)


class TrainingRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`champion` is a bundle's folder and `version` what must lie there. `source` is base data that goes
    before the champion's own, `reference` rows known to be normal, `config` a recipe's file; `budget` is the
    alert budget's share. `trusted`: the champion's signature was checked, and base data must be what it
    signs."""

    champion: str
    version: str
    budget: float
    trusted: bool = False
    source: str | None = None
    reference: str | None = None
    config: str | None = None


class Verdict(Struct, frozen=True):
    """A record that analysts agree on, by the digest of its values. `probability` is that of a record like
    it being kept at all; `known` is whether the champion learnt it; `key` the API key that alone said so
    (None: several did); `group` the verdict on a group of records that it was given with."""

    digest: str
    feedback_id: str
    anomaly: bool
    record: dict[str, Any]
    probability: float
    known: bool
    key: str | None = None
    group: str | None = None


class TrafficRecord(Struct, frozen=True):
    """A record of the random slice of recent traffic."""

    record: dict[str, Any]


class Placement(Struct, frozen=True):
    """Where a model puts a record: its score, which no other model's compares with, the percentile of that
    among the model's reference rows (0 to 100), and whether it alerts by it at the budget."""

    score: float
    percentile: float
    anomaly: bool


class LearntRecord(Struct, frozen=True):
    """Where a labelled record lies: by the champion, by the challenger, and by a fit that left it out (None:
    there was none)."""

    digest: str
    before: Placement
    after: Placement
    held_out: Placement | None


class DoubtedLabel(Struct, frozen=True):
    """A label that was left out, and where the champion puts its record: it waits for a second opinion."""

    digest: str
    feedback_id: str
    anomaly: bool
    score: float
    percentile: float
    prototype: int


class TrainingResult(Struct, frozen=True):
    """The gate's decision on the bundle of `version`, trained on `rows` rows with `digest`. `problems` are
    sentences about labels that could not be used. `measured`: whether it is known how well it finds unseen
    anomalies. `left_out`: the API key whose words it was trained without, as with them it was worse, or as
    the others' labels contradict them; `doubted` are those words."""

    accepted: bool
    reasons: list[str]
    figures: dict[str, Any]
    version: str
    digest: str
    rows: int
    learnt: list[LearntRecord]
    problems: list[str]
    measured: bool = True
    left_out: str | None = None
    doubted: list[DoubtedLabel] = []


def read_part(path: Path, kind: type[Part]) -> Part:
    """Raises DataError for what is no `kind`, OSError where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise _unreadable(path, kind, error) from None


def read_lines(path: Path, kind: type[Part]) -> list[Part]:
    """One a line; raises as `read_part` does."""
    try:
        return msgspec.json.Decoder(kind).decode_lines(path.read_bytes())
    except msgspec.DecodeError as error:
        raise _unreadable(path, kind, error) from None


def _unreadable(path: Path, kind: type[Struct], error: msgspec.DecodeError) -> DataError:
    return DataError(f"{path} holds no {kind.__name__} as this release writes it: {error}")

"""What the service answers, as docs/api.md and /openapi.json describe it.

Names are a contract: a newer service may send more fields, and these stay. What is empty is left out, so ask
for it by `.get`.
"""

from typing import Any, Literal, TypedDict


class ItemError(TypedDict, total=False):
    """What is wrong with one item of a request, by its `index` in it."""

    index: int
    type: str
    title: str
    detail: str
    field: str
    id: str | int
    choices: list[dict[str, Any]]


class ScoreReason(TypedDict, total=False):
    feature: str
    value: float | str | bool | None
    expected: dict[str, Any]
    residual: float
    usual_residual: float
    effect: float
    together: float
    rebuilt: float


class MatchedLabel(TypedDict, total=False):
    """What analysts said of an equal record."""

    feedback_id: str
    label: Literal["anomaly", "normal", "conflict"]
    suppressed: bool
    suppresses_until: str


class ScoredRow(TypedDict, total=False):
    """The answer to one record: its scores, or `error`."""

    id: str | int
    event_id: str
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    distance: float
    reconstruction_error: float
    imputed: list[str]
    unknown: list[str]
    novel: list[str]
    novel_distance: bool
    reasons: list[ScoreReason]
    matched_feedback: MatchedLabel
    error: ItemError


LabelItem = TypedDict(
    "LabelItem",
    {
        "event_id": str,
        "record_id": str | int,
        "record": dict[str, Any],
        "retract": str,
        "label": Literal["anomaly", "normal"],
        "analyst": str,
        "class": str,
        "comment": str,
    },
    total=False,
)
"""A label of one `event_id`, `record_id` or `record`; or `retract`, a feedback_id, to take its label back."""


class LabelReceipt(TypedDict, total=False):
    """What became of a label: docs/feedback.md says what each `status` means."""

    feedback_id: str
    status: Literal[
        "stored", "waiting", "second_opinion", "learned", "superseded", "retracted", "quarantined", "erased"
    ]
    at: str
    label: str
    retracts: str
    analyst: str
    event_id: str
    event: dict[str, Any]
    imputed: list[str]
    unknown: list[str]
    warnings: list[str]
    record_id: str
    group: str
    conflicts_with: list[str]
    job_id: str
    model_version: str
    score_before: float
    percentile_before: float
    anomaly_before: bool
    score_after: float
    percentile_after: float
    anomaly_after: bool
    score_held_out: float
    percentile_held_out: float
    anomaly_held_out: bool


class RetrainingCount(TypedDict, total=False):
    """How many labels count towards the next job, which starts at `triggers_at`; `job_id` where it does."""

    new_labels: int
    triggers_at: int
    waiting: int
    job_id: str


class StoredLabels(TypedDict, total=False):
    """Receipts in the order sent; `group`: of one verdict on several records."""

    receipts: list[LabelReceipt]
    retraining: RetrainingCount
    warnings: list[str]
    group: str


class QueuedRecord(TypedDict, total=False):
    """A record to review, and `why`; `claimed_until` where it is held."""

    event_id: str
    why: str
    probability: float
    at: str
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    model_version: str
    record: dict[str, Any]
    kept: dict[str, str]
    skipped: int
    reasons: list[ScoreReason]
    id: str
    said: str
    claimed_until: str


class HeldRecord(TypedDict):
    """Which analyst of which API key holds a record, and until when."""

    event_id: str
    why: str
    key: str
    analyst: str
    claimed_until: str


class RaisedAlert(TypedDict, total=False):
    """A kept event that raised an alert: `record` where it was asked for, `reasons` the features that are
    some."""

    event_id: str
    at: str
    model: str
    model_version: str
    score: float
    percentile: float
    id: str
    record: dict[str, Any]
    reasons: list[str]


class EventDetails(TypedDict, total=False):
    """All there is to know of one record under review."""

    event_id: str
    source: Literal["event", "reference", "second_opinion"]
    model: str
    at: str
    id: str
    record: dict[str, Any]
    kept: dict[str, str]
    probability: float
    verdict: dict[str, Any]
    group: dict[str, Any]
    reasons: list[ScoreReason]
    history: list[dict[str, Any]]
    own: list[dict[str, Any]]
    opinions: list[dict[str, Any]]
    judged: str
    skipped: int
    skips: list[dict[str, Any]]


class PolicyAnswer(TypedDict, total=False):
    """`policy` is in force for `model`; `previous` was, before a change."""

    model: str
    policy: dict[str, Any]
    previous: dict[str, Any]


class JobDocument(TypedDict, total=False):
    """Where a retraining job stands; `reasons` say why it ended so."""

    job_id: str
    model: str
    state: Literal["queued", "running", "succeeded", "refused", "failed", "cancelled"]
    stage: str
    progress: float
    waits_for: str
    cause: str
    requested_by: str
    cancelled_by: str
    at: str
    not_before: str
    started_at: str
    ended_at: str
    attempts: int
    champion: str
    version: str
    activated: bool
    snapshot: dict[str, Any]
    reasons: list[str]
    evidence: dict[str, Any]
    log: str


class ActivationNote(TypedDict, total=False):
    """Who put which version into service, when, and why."""

    model: str
    version: str
    at: str
    by: str
    reason: str


class ModelVersion(TypedDict, total=False):
    """A version in the store; `serves`: the models that it is the champion of."""

    version: str
    serves: list[str]
    activated: ActivationNote


class LoadedVersion(TypedDict):
    """`provider` None: it is not in memory, and loaded when it is asked for."""

    name: str
    version: str
    provider: str | None


class ReadyAnswer(TypedDict):
    """`problems` say what is missing, also of a service that is ready."""

    ready: bool
    models: list[LoadedVersion]
    problems: list[str]


class AuditNote(TypedDict):
    """Who did what."""

    number: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]

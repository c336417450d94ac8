"""How live traffic differs from the traffic that the model learned."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from msgspec.structs import asdict
from pydantic import BaseModel, ConfigDict

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    model_of,
    needs,
    services_of,
)
from nearnorm.service.drift.monitor import DriftSnapshot, SignalState
from nearnorm.service.feedback.figures import recall
from nearnorm.service.feedback.figures.recall import Recall
from nearnorm.service.metrics.collectors import Figures
from nearnorm.service.records.shapes import ModelRef
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.verdict.novelty import Novelty, SignalNovelty

router = APIRouter(tags=["operations"])


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class FeatureDrift(Shown):
    """One feature over the window. `unknown` and `reference_unknown` only where it has categories;
    `drifted_since` only while it drifts."""

    name: str
    kind: str
    psi: float
    drifted_since: datetime | None = None
    missing: float
    reference_missing: float
    unknown: float | None = None
    reference_unknown: float | None = None


class SharesDrift(Shown):
    """Shares of rows beside the reference's: by prototype, or by bin of the score."""

    psi: float
    drifted_since: datetime | None = None
    shares: list[float]
    reference_shares: list[float]


class FarDrift(BaseModel):
    """Rows farther from every prototype than 99% of the reference rows."""

    share: float
    reference_share: float
    drifted_since: datetime | None = None


class DriftReport(BaseModel):
    """A signal began to drift at `row` of the rows seen; `window` is how many rows showed it."""

    kind: str
    name: str
    psi: float
    p_value: float
    window: int
    row: int
    at: datetime


class CandidateGroup(Shown):
    """Rows far from every prototype and close to each other: a new kind of normal, or one attack.

    `examples` are event ids, newest first; `typical` has medians and most frequent categories.
    """

    rows: int
    share: float
    nearest: int
    distance: float
    since: datetime
    examples: list[str]
    typical: dict[str, float | str | None]


class NovelSignal(BaseModel):
    """`rows` of the newest `window` had a value that training never saw; since `ceased_since` they are too
    many to alert for that. `name` is a feature's; without one it is the distance."""

    name: str | None = None
    rows: int
    window: int
    ceased_since: datetime | None = None


class ServedModel(BaseModel):
    name: str
    version: str

    @classmethod
    def of(cls, ref: ModelRef) -> "ServedModel":
        return cls(name=ref.name, version=ref.version)


class EstimatedRecall(BaseModel):
    """Share of anomalies that this version alerted on, with its 95% interval, from `labelled` events of which
    `anomalies` are. Without these three until the `random_labels` are `needs` more, and `needs_alerts` more
    alerts are judged."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    labelled: int
    anomalies: int
    random_labels: int
    needs: int
    needs_alerts: int

    @classmethod
    def of(cls, recall: Recall) -> "EstimatedRecall":
        hidden = set() if recall.shown else {"estimate", "low", "high"}
        return cls(
            **{name: value for name, value in asdict(recall).items() if name not in {"version", *hidden}}
        )


class DriftState(BaseModel):
    """`rows` were scored by this version since it serves here; shares cover the newest `window` of them."""

    model: ServedModel
    rows: int
    window: int
    drifting: bool
    features: list[FeatureDrift]
    prototypes: SharesDrift
    score: SharesDrift
    far: FarDrift
    novel: list[NovelSignal]
    candidate_groups: list[CandidateGroup]
    reports: list[DriftReport]
    recall: EstimatedRecall | None = None


@router.get("/drift", response_model_exclude_none=True)
async def get_drift(
    request: Request, _: Annotated[Caller, needs(None)], model: str = "default"
) -> DriftState:
    """Drift of features, groups, distances and scores since this version serves in this process."""
    return await drift_of(request, model)


async def drift_of(request: Request, model: str) -> DriftState:
    """Raises UnknownModel."""
    loaded = await model_of(request, model)
    figures: Figures = request.app.state.figures
    found = figures.recall(model)
    if found is None and not figures.reads(model):
        version = loaded.ref.version
        found = await services_of(request).ledger.seen(lambda c: recall.read(c, model, version))
    return _shown(loaded, loaded.drift.snapshot(), found)


def _shown(loaded: LoadedModel, snapshot: DriftSnapshot, recall_: Recall | None) -> DriftState:
    features = [s for s in snapshot.signals if s.signal.kind in ("numeric", "categorical")]
    own = {s.signal.kind: s for s in snapshot.signals if s not in features}
    far = own["distance"]
    novel = [_novel(loaded.novelty, state) for state in loaded.novelty_watch.states()]
    return DriftState(
        model=ServedModel.of(loaded.ref),
        rows=snapshot.rows,
        window=snapshot.window,
        drifting=any(s.drifted_since for s in snapshot.signals) or any(s.ceased_since for s in novel),
        features=[_feature(state) for state in features],
        prototypes=SharesDrift.model_validate(own["prototype"]),
        score=SharesDrift.model_validate(own["score"]),
        far=FarDrift(
            share=far.shares[1], reference_share=far.reference_shares[1], drifted_since=far.drifted_since
        ),
        novel=novel,
        candidate_groups=[CandidateGroup.model_validate(c) for c in snapshot.candidates],
        reports=[
            DriftReport(
                kind=report.signal.kind,
                name=report.signal.name,
                psi=report.psi,
                p_value=report.p_value,
                window=report.window,
                row=report.row,
                at=report.at,
            )
            for report in reversed(snapshot.reports)
        ],
        recall=EstimatedRecall.of(recall_) if recall_ and recall_.version == loaded.ref.version else None,
    )


def _novel(novelty: Novelty, state: SignalNovelty) -> NovelSignal:
    name = None if state.signal == novelty.distance else novelty.names[state.signal]
    return NovelSignal(name=name, rows=state.rows, window=state.window, ceased_since=state.ceased_since)


def _feature(state: SignalState) -> FeatureDrift:
    rates = {name: getattr(state, name) for name in _RATES}
    return FeatureDrift(name=state.signal.name, kind=state.signal.kind, **rates)


_RATES = ("psi", "drifted_since", "missing", "reference_missing", "unknown", "reference_unknown")

"""One function from typed columns to a detector, read from top to bottom."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from nearnorm.models.data.schema import NO_TIMES, TimeColumns
from nearnorm.models.errors import DataError
from nearnorm.training.fitting.distil import served_forest
from nearnorm.training.fitting.epochs import Report, Schedule
from nearnorm.training.fitting.joint import Validation, train_jointly
from nearnorm.training.fitting.layerwise import pretrain_layers
from nearnorm.training.fitting.ordinary import ordinary
from nearnorm.training.fitting.representation import learn_representation
from nearnorm.training.fitting.sampling import Sampler
from nearnorm.training.method.cold_start import RankHead
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.forest.grown import GrownForest
from nearnorm.training.method.heads import ForestHead, ScoreHead, soft_evidence
from nearnorm.training.method.inputs.preprocess import Preprocess
from nearnorm.training.method.losses import normal_likelihood
from nearnorm.training.method.network import Detector, student_t
from nearnorm.training.method.paper import choose_prototypes
from nearnorm.training.method.prototypes import find_prototypes
from nearnorm.training.method.threads import one_thread

HELD_OUT_SHARE = 0.1
HELD_OUT_ROWS = 2_000
FEW_ROWS = 50
"""Below this many normal rows none can be spared: the held-out rows are the training rows."""
MOST_ROWS = 100_000
"""Unlabelled rows a fit draws from; with 64 batches an epoch it would never see more of them."""


@dataclass(frozen=True)
class TrainingSet:
    """Typed columns of N records.

    numeric [N, Dn] float64, NaN = missing; codes [N, Dc] int64, 0 = missing, 1 = unknown, from 2 on
    known categories; cardinalities: codes of each column, 0 and 1 included; labels [N] int8: 1
    confirmed anomaly, 0 confirmed normal, -1 unlabelled; times: which numbers are seconds since 1970.
    """

    numeric: np.ndarray
    codes: np.ndarray
    cardinalities: tuple[int, ...]
    labels: np.ndarray
    times: TimeColumns = NO_TIMES


@dataclass(frozen=True)
class Progress:
    """Where a fit is: its stage, the share of it that is done, and the losses of the last epoch."""

    stage: str
    done: float
    detail: dict[str, float]


@dataclass(frozen=True)
class Fitted:
    """A detector, its training curves by loss name, and the choices that were made by rule."""

    detector: Detector
    history: dict[str, list[float]]
    choices: dict[str, object]
    fit_seconds: float


def ignore(_: Progress) -> None:
    """The progress callback of a caller that does not ask."""


def fit(
    data: TrainingSet,
    config: FitConfig,
    *,
    seed: int,
    progress: Callable[[Progress], None] = ignore,
    validation: TrainingSet | None = None,
) -> Fitted:
    """Train a detector; the same data, config and seed give the same one, whatever the threads.

    Labels are used as given and no others exist: held-out rows are unlabelled ones. Only where there are
    `validation` rows, all of them labelled, do those take their place: what is normal among them for
    prototypes and the stops of stage 1, all of them for stage 3's. DataError if there is nothing to learn
    from.
    """
    started = time.perf_counter()
    with one_thread():
        detector, history, choices = _fit(data, config, seed, progress, validation)
    return Fitted(detector.eval(), history, choices, time.perf_counter() - started)


def _fit(
    data: TrainingSet,
    config: FitConfig,
    seed: int,
    progress: Callable[[Progress], None],
    validation: TrainingSet | None,
) -> tuple[Detector, dict[str, list[float]], dict[str, object]]:
    rng = np.random.default_rng(seed)
    sampler = Sampler(seed)
    history: dict[str, list[float]] = {}

    def watch(stage: str) -> Report:
        most = config.joint_epochs if stage == "joint" else config.representation_epochs

        def report(epoch: int, losses: dict[str, float]) -> None:
            for name, value in losses.items():
                history.setdefault(f"{stage}.{name}", []).append(value)
            progress(Progress(stage, epoch / most, losses))

        return report

    # ---- rows: unlabelled (held out and not), confirmed normal, labelled anomalous
    unlabelled = rng.permutation(np.flatnonzero(data.labels == -1))[:MOST_ROWS]
    confirmed = rng.permutation(np.flatnonzero(data.labels == 0))
    anomalous = np.flatnonzero(data.labels == 1)
    if len(unlabelled) + len(confirmed) < 2:
        raise DataError("training needs at least two records that are not labelled anomalies")
    kept = np.concatenate([unlabelled, confirmed, anomalous])
    numeric, codes = data.numeric[kept], data.codes[kept]
    preprocess = Preprocess(numeric, codes, data.cardinalities, config.transform, data.times)
    if preprocess.width == 0:
        raise DataError("no column varies between records: nothing tells them apart")
    with torch.no_grad():
        rows = preprocess(torch.from_numpy(numeric), torch.from_numpy(codes))
    rows_u, rows_n, rows_a = torch.split(rows, [len(unlabelled), len(confirmed), len(anomalous)])
    held_out, judged = torch.cat([rows_u, rows_n]), None
    if validation is not None:
        anomalous_v = torch.from_numpy(validation.labels == 1)
        with torch.no_grad():
            rows_v = preprocess(torch.from_numpy(validation.numeric), torch.from_numpy(validation.codes))
        held_out, judged = rows_v[~anomalous_v], Validation(rows_v, anomalous_v)
    elif len(rows_u) >= FEW_ROWS:
        cut = min(int(len(rows_u) * HELD_OUT_SHARE), HELD_OUT_ROWS)
        held_out, rows_u = torch.cat([rows_u[:cut], rows_n]), rows_u[cut:]
    if len(rows_u) == 0:
        rows_u = rows_n
    normals = torch.cat([rows_u, rows_n])

    detector = Detector(preprocess, config, sampler.generator)

    # ---- stage 1: representation
    schedule = Schedule(config.representation_epochs, config.patience, config.learning_rate)
    stops: dict[str, int] = {}
    if config.layerwise:
        stops = pretrain_layers(detector, normals, held_out, schedule, sampler, watch)
    stops["representation"] = learn_representation(detector, normals, held_out, schedule, sampler, watch)

    # ---- stage 2: prototypes, from raw embeddings of held-out rows
    with torch.no_grad():
        raw = detector.join(detector.encode(held_out))
    silhouettes: dict[str, float] = {}
    if config.prototypes is None:
        centres, silhouettes = choose_prototypes(raw.numpy(), rng)
    else:
        centres = find_prototypes(raw.numpy(), config.prototypes, rng)
    detector.set_prototypes(torch.from_numpy(centres))

    with torch.no_grad():  # as long as no label is learnt
        looked = ordinary(*(detector.evidence(seen)[1].mean(1).numpy() for seen in (held_out, rows_a)))

    # ---- stage 3: everything together
    stops["joint"] = train_jointly(
        detector, (rows_u, rows_n, rows_a), held_out, config, sampler, watch("joint"), judged
    )
    # ---- the head's last part: trees beside it, or, without labels, ranks in its place
    with torch.no_grad():
        _, slots, squared = detector.evidence(torch.cat([normals, rows_a, held_out]))
    error, similarity = slots.mean(1), student_t(squared).amax(1)
    learned, trees = len(normals) + len(rows_a), 0
    if len(rows_a) == 0:
        values = held_out if config.transform == "quantile" else None
        detector.head = RankHead(error[learned:], similarity[learned:], values)
    elif config.trees and isinstance(detector.head, ScoreHead):
        evidence = soft_evidence(error, similarity)[:learned]
        seen = torch.cat([torch.cat([normals, rows_a]), evidence], dim=1).numpy()
        forest = served_forest(
            seen[: len(normals)],
            normal_likelihood(similarity[: len(normals)], len(rows_n)).numpy(),
            seen[len(normals) :],
            inputs=preprocess.width,
            confirmed=len(rows_n),
            forests=config.forests,
            ordinary=looked,
            count=config.trees,
            rng=rng,
        )
        detector.head = ForestHead(detector.head, forest.taught, preprocess.width, forest.share)
        trees = len(forest.taught.leaf) + len(forest.grown.leaf)
        if len(forest.grown.leaf):
            grown = forest.grown.weighing(forest.share)
            plain = preprocess.plain_thresholds(grown.column, grown.threshold)
            detector.grown = GrownForest(replace(grown, threshold=plain))

    choices: dict[str, object] = {
        "members": config.members,
        "trees": trees,
        "prototypes": len(centres),
        "prototypes_chosen_by": "silhouette" if silhouettes else "configuration",
        "silhouettes": silhouettes,
        "stopped_at": stops,
        "stopped_by": _stopped_by(config, judged),
        "input_width": preprocess.width,
        "rows": {
            "unlabelled": len(rows_u),
            "held_out": len(held_out),
            "validation": 0 if judged is None else len(judged.rows),
            "confirmed_normal": len(rows_n),
            "labelled_anomalies": len(rows_a),
        },
        "head": "ranks" if len(rows_a) == 0 else "scores",
    }
    return detector, history, choices


def _stopped_by(config: FitConfig, judged: Validation | None) -> str:
    if config.patience is None:
        return "the configuration"
    return "held-out rows without labels" if judged is None else "labelled validation rows"

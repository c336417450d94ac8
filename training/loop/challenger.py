"""A challenger: what it learns from, the bundle that comes of it, and the gate's decision on that bundle."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.conformal import PERCENTILE_DIGITS, lowest_rank, ranks
from nearnorm.models.data.records import records
from nearnorm.models.data.tables import Arrays
from nearnorm.models.retraining import DoubtedLabel, LearntRecord, Placement, Verdict
from nearnorm.training.dataset.known_normal import KnownNormal, judged_by
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.dataset.load import Dataset, Split, split
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.evaluation.crossfit import (
    CrossFit,
    cross_fit,
    evenly_spread,
    fold_count,
    measurable,
    rank_left_out,
)
from nearnorm.training.job import Prepared, TrainingJob, Watcher
from nearnorm.training.loop import gate, progress
from nearnorm.training.loop.base_data import BaseData
from nearnorm.training.loop.evidence import Sides, confirmed, rank_among_reference, say_only_normal, weights
from nearnorm.training.loop.groups import who_teaches
from nearnorm.training.loop.snapshot import Snapshot, convert, take
from nearnorm.training.loop.trust import TrustSet, draw
from nearnorm.training.pipeline import train_bundle

FEWEST_COMPARED = 10
"""Shared anomalies without which a comparison with the recipe without single labellers' words would refuse by
chance too often."""


@dataclass(frozen=True)
class Setting:
    """What every challenger of one retraining begins with. `own` is the champion's recipe, `recipe` the
    challenger's; `sample` are rows known to be normal."""

    champion: Bundle
    own: Recipe
    recipe: Recipe
    base: BaseData
    sample: KnownNormal | None
    traffic: Sequence[Mapping[str, Any]]
    budget: float


@dataclass(frozen=True)
class Material:
    """What a challenger learns from, and is measured by. `rows` of `data` train and calibrate."""

    snapshot: Snapshot
    trust: TrustSet
    data: Dataset
    rows: Split


@dataclass(frozen=True)
class Challenge:
    """`learnt` are the verdicts that it was trained on, or measured by."""

    bundle: Bundle
    decision: gate.Decision
    snapshot: Snapshot
    learnt: list[LearntRecord]


@dataclass(frozen=True)
class _Measured:
    """Held-out ranks by champion and challenger, of bundles first; and by the recipe without single
    labellers' words and the challenger."""

    artefacts: list[Sides]
    recipes: list[Sides]
    plain: list[Sides]


def challenge(setting: Setting, verdicts: Sequence[Verdict], out: Path, seconds: float) -> Challenge:
    """Train on `verdicts` and judge what comes of it; the bundle lies in `out`. `seconds` went before."""
    core = setting.champion.manifest.core
    material = lay_out(setting, verdicts)
    snapshot, trust = material.snapshot, material.trust
    for problem in snapshot.problems:
        progress.warn(problem)
    job = TrainingJob(
        source=setting.base.source,
        out=out,
        recipe=setting.recipe,
        label_column=core.data.label_column,
        time_column=core.data.time_column,
        seed=core.seed,
        reference=None if setting.sample is None else setting.sample.source,
        reading=setting.champion.manifest.reading,
    )
    progress.report_progress("evaluate", progress.SNAPSHOT)
    prepared = Prepared(job, material.data, material.rows, None, seconds)
    bundle, measured = _train(prepared, setting, snapshot, trust, verdicts)

    judged = [*measured.artefacts, *measured.recipes]
    labels = snapshot.data.labels
    weight = weights(len(labels), snapshot.place, verdicts) * trust.weight
    evidence = gate.GateEvidence(
        ranked=rank_among_reference(labels, weight, trust.trusted, judged, len(measured.artefacts)),
        confirmed=confirmed(snapshot.place, verdicts, judged),
        traffic=_alerts(setting, bundle, snapshot),
        budget=setting.budget,
        plain=rank_among_reference(labels, weight, trust.shared, measured.plain, 0),
        only_normals=say_only_normal(verdicts),
    )
    return Challenge(
        bundle,
        gate.decide(evidence, core.seed),
        snapshot,
        _learnt(setting, bundle, snapshot, verdicts, [side for _, side in judged]),
    )


def lay_out(setting: Setting, verdicts: Sequence[Verdict]) -> Material:
    """Put base data, traffic and verdicts together, the trust set apart; of a group a few records train."""
    seed = setting.champion.manifest.core.seed
    snapshot = take(setting.base.data, setting.traffic, verdicts)
    trust = draw(snapshot.data, snapshot.place, verdicts)
    held_out = int(trust.held_out.sum())
    data = replace(snapshot.data, facts=snapshot.data.facts.model_copy(update={"held_out": held_out}))
    if setting.sample is None:
        rows = split(data, seed)
    else:
        data, rows = judged_by(data, setting.sample, seed)
    spare = snapshot.place[~who_teaches(verdicts) & (snapshot.place >= 0)]
    rows = replace(rows, fit=np.setdiff1d(rows.fit, [*np.flatnonzero(trust.held_out), *spare]))
    return Material(snapshot, trust, data, rows)


def _train(
    prepared: Prepared, setting: Setting, snapshot: Snapshot, trust: TrustSet, verdicts: Sequence[Verdict]
) -> tuple[Bundle, _Measured]:
    """The bundle, and how it and what it is compared with rank labels that they did not train on."""
    data, rows, core = prepared.data, prepared.split, setting.champion.manifest.core
    kept = np.flatnonzero(trust.held_out)
    with ProcessPoolExecutor(1, get_context("spawn")) as beside:

        def crossed_beside(known: np.ndarray, present: np.ndarray) -> Future[CrossFit]:
            return beside.submit(
                cross_fit, data, rows, setting.own.fit, core.seed, _silent, known, present, folds
            )

        crossed, rival, plain, refitted = None, None, None, None
        folds = fold_count(data.labels[rows.fit])
        if len(kept) and not core.data.held_out:  # it may have trained on what is held out now
            refitted = beside.submit(
                rank_left_out,
                data,
                rows,
                setting.own.fit,
                core.seed,
                kept,
                snapshot.known,
                snapshot.present,
            )
        if measurable(data.labels[rows.fit]):
            news = (snapshot.known != snapshot.data.labels).any() or not snapshot.present.all()
            if setting.own.fit != setting.recipe.fit or news:
                rival = crossed_beside(snapshot.known, snapshot.present)
            if _is_single(snapshot, trust, verdicts):
                plain = crossed_beside(*_without_single_words(snapshot, trust, verdicts))
            crossed = cross_fit(
                data, rows, setting.recipe.fit, core.seed, progress.report_evaluation, folds=folds
            )
        watcher = Watcher(progress.report_training, lambda schema: None, progress.warn)
        bundle = train_bundle(prepared, watcher, crossed)
        progress.report_progress("gate", progress.TRAINED)
        measured = _Measured([], [], [])
        if crossed is not None:
            measured.recipes.append((crossed if rival is None else rival.result(), crossed))
            if plain is not None:
                measured.plain.append((plain.result(), crossed))
        if len(kept):
            theirs = _rank_held_out(setting.champion, data, kept) if refitted is None else refitted.result()
            measured.artefacts.append((theirs, _rank_held_out(bundle, data, kept)))
    return bundle, measured


def _is_single(snapshot: Snapshot, trust: TrustSet, verdicts: Sequence[Verdict]) -> bool:
    """Whether the champion learnt words of single labellers, and enough anomalies are shared to tell what
    came of that."""
    shared = int((trust.shared & (snapshot.data.labels == ANOMALY)).sum())
    return shared >= FEWEST_COMPARED and any(v.known and v.key is not None for v in verdicts)


def _without_single_words(
    snapshot: Snapshot, trust: TrustSet, verdicts: Sequence[Verdict]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N] and rows [N] as they would be without the words of single labellers."""
    known = np.where(trust.shared, snapshot.data.labels, UNLABELLED).astype(np.int8)
    present = np.ones(len(known), bool)
    single = {row for v, row in zip(verdicts, snapshot.place.tolist(), strict=True) if v.key is not None}
    added = [row for row in single if row >= len(known) - snapshot.added]
    present[added] = False
    return known, present


def _answers(bundle: Bundle, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] of a bundle's own graph, and their ranks among its reference rows."""
    scores = _run(bundle, arrays, "score")
    return scores, ranks(scores, np.asarray(bundle.manifest.core.reference.scores, np.float32))


def _run(bundle: Bundle, arrays: Arrays, output: str) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    feed = {"numeric": arrays.numeric, "codes": arrays.codes}
    return np.asarray(session.run([output], {n: a for n, a in feed.items() if n in wanted})[0])


def rank_verdicts(champion: Bundle, verdicts: Sequence[Verdict]) -> np.ndarray:
    """The ranks [V] of the records of verdicts by a bundle."""
    return _answers(champion, convert([v.record for v in verdicts], champion.manifest.core.features))[1]


def doubted(champion: Bundle, verdicts: Sequence[Verdict]) -> list[DoubtedLabel]:
    """Labels as they wait for a second opinion, with what the champion says of their records."""
    if not verdicts:
        return []
    arrays = convert([v.record for v in verdicts], champion.manifest.core.features)
    placed = _placements(*_answers(champion, arrays), budget=1.0)
    return [
        DoubtedLabel(v.digest, v.feedback_id, v.anomaly, place.score, place.percentile, prototype)
        for v, place, prototype in zip(
            verdicts, placed, _run(champion, arrays, "prototype").tolist(), strict=True
        )
    ]


def _rank_held_out(bundle: Bundle, data: Dataset, rows: np.ndarray) -> CrossFit:
    """Rows of `data` by a bundle that did not train on them, in the shape of a cross-fit.

    Ranks of its own reference rows among themselves are the same for every bundle: evenly spread.
    """
    schema = bundle.manifest.core.features
    arrays = convert(records(data.schema, data.numeric[rows], data.codes[rows], {}), schema)
    scores, ranked = _answers(bundle, arrays)
    return CrossFit(rows, scores, ranked, evenly_spread())


def _learnt(
    setting: Setting,
    bundle: Bundle,
    snapshot: Snapshot,
    verdicts: Sequence[Verdict],
    sides: Sequence[CrossFit],
) -> list[LearntRecord]:
    said, champion = [v.record for v in verdicts], setting.champion
    before = _placements(*_answers(champion, convert(said, champion.manifest.core.features)), setting.budget)
    after = _placements(*_answers(bundle, convert(said, snapshot.data.schema)), setting.budget)
    left_out = {
        row: placement
        for side in sides
        for row, placement in zip(
            side.rows.tolist(), _placements(side.score, side.rank, setting.budget), strict=True
        )
    }
    return [
        LearntRecord(
            digest=v.digest,
            before=before[i],
            after=after[i],
            held_out=left_out.get(int(snapshot.place[i])),
        )
        for i, v in enumerate(verdicts)
        if snapshot.place[i] >= 0
    ]


def _placements(scores: np.ndarray, ranked: np.ndarray, budget: float) -> list[Placement]:
    """Of scores [N] and their ranks [N]; percentiles are told as /score tells them."""
    percentiles = np.round(100 * ranked, PERCENTILE_DIGITS)
    alerts = ranked >= lowest_rank(budget)
    return list(map(Placement, scores.tolist(), percentiles.tolist(), alerts.tolist()))


def _alerts(setting: Setting, challenger: Bundle, snapshot: Snapshot) -> gate.RecentTraffic:
    """Alerts on all but confirmed anomalies: an alert on one of those is no excess."""
    open_ = ~snapshot.confirmed
    if not open_.any():
        return gate.RecentTraffic(0, 0, 0)
    champion = setting.champion
    _, before = _answers(champion, convert(setting.traffic, champion.manifest.core.features))
    _, after = _answers(challenger, snapshot.traffic)
    alerts = (int((ranked[open_] >= lowest_rank(setting.budget)).sum()) for ranked in (before, after))
    return gate.RecentTraffic(int(open_.sum()), *alerts)


def _silent(done: float) -> None:
    """Progress of what runs beside."""

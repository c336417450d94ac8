"""One retraining, as a process of its own: a folder with a request in, a bundle and the gate's word out.

    python -m nearnorm.training.loop.retrain FOLDER

FOLDER holds what models/retraining.py describes. Progress goes to stdout, a JSON object a line. It ends
with a bundle in FOLDER/bundle and, written last, FOLDER/result.json; or with exit code 2 and one line on
stderr for what a user can mend. Whoever starts it holds its stdin: when that
closes, its starter is gone and it ends itself, so that nothing trains for nobody.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
from pydantic import ValidationError

from nearnorm.models.bundle.bundle import Bundle, read_bundle, write_durably
from nearnorm.models.bundle.operators import check_operators
from nearnorm.models.conformal import PERCENTILE_DIGITS, lowest_rank, ranks
from nearnorm.models.data.records import records
from nearnorm.models.data.tables import Arrays
from nearnorm.models.errors import BundleError, NearnormError
from nearnorm.models.retraining import (
    LearntRecord,
    Placement,
    TrafficRecord,
    TrainingRequest,
    TrainingResult,
    Verdict,
    read_lines,
    read_part,
)
from nearnorm.training.dataset.known_normal import judged_by
from nearnorm.training.dataset.load import Dataset, split
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.evaluation.crossfit import (
    CrossFit,
    cross_fit,
    evenly_spread,
    measurable,
    rank_left_out,
)
from nearnorm.training.job import Prepared, TrainingJob, Watcher
from nearnorm.training.loop import gate
from nearnorm.training.loop.base_data import read_base, read_reference
from nearnorm.training.loop.evidence import Sides, confirmed, rank_among_reference, weights
from nearnorm.training.loop.snapshot import Snapshot, convert, take
from nearnorm.training.loop.trust import draw
from nearnorm.training.pipeline import train_bundle

GIVE_MORE = "give the worker more, or less base data"
NO_MEMORY = ("allocate memory", "bad_alloc", "start new thread")
"""What torch, onnxruntime and threads say of it; they have no exception for it."""
SNAPSHOT, MEASURED, TRAINED = 0.05, 0.4, 0.95
"""The share of the whole that is done when a stage ends."""


def retrain(folder: Path) -> TrainingResult:
    """Raises NearnormError for what a user can mend."""
    _report_progress("snapshot", 0.0)
    started = time.perf_counter()
    request = read_part(folder / "request.json", TrainingRequest)
    champion = _champion(request)
    core = champion.manifest.core
    given = Recipe.read(Path(request.config)) if request.config else None
    own = _own_recipe(champion, given)
    recipe = given or own
    base = read_base(champion.manifest, request.source, recipe, own, request.trusted)
    verdicts = read_lines(folder / "labels.jsonl", Verdict)
    traffic = [line.record for line in read_lines(folder / "traffic.jsonl", TrafficRecord)]
    snapshot = take(base.data, traffic, verdicts)
    problems = [base.changed, *snapshot.problems] if base.changed else snapshot.problems
    trust = draw(snapshot.data, snapshot.place, verdicts)
    held_out = int(trust.held_out.sum())
    data = replace(snapshot.data, facts=snapshot.data.facts.model_copy(update={"held_out": held_out}))
    sample, changed = read_reference(champion.manifest, request.reference, data.schema, request.trusted)
    if changed:
        problems = [changed, *problems]
    if sample is None:
        rows = split(data, core.seed)
    else:
        data, rows = judged_by(data, sample, core.seed)
    rows = replace(rows, fit=np.setdiff1d(rows.fit, np.flatnonzero(trust.held_out)))
    for problem in problems:
        _write_event(warning=problem)

    job = TrainingJob(
        source=base.source,
        out=folder / "bundle",
        recipe=recipe,
        label_column=core.data.label_column,
        time_column=core.data.time_column,
        seed=core.seed,
        reference=None if sample is None else sample.source,
        reading=champion.manifest.reading,
    )
    seconds = time.perf_counter() - started
    _report_progress("evaluate", SNAPSHOT)
    with ProcessPoolExecutor(1, get_context("spawn")) as beside:
        crossed, rival, refitted = None, None, None
        if held_out and not core.data.held_out:  # it may have trained on what is held out now
            refitted = beside.submit(
                rank_left_out,
                data,
                rows,
                own.fit,
                core.seed,
                np.flatnonzero(trust.held_out),
                snapshot.known,
                snapshot.present,
            )
        if measurable(data.labels[rows.fit]):
            news = (snapshot.known != snapshot.data.labels).any() or not snapshot.present.all()
            if own.fit != recipe.fit or news:
                rival = beside.submit(
                    cross_fit, data, rows, own.fit, core.seed, _silent, snapshot.known, snapshot.present
                )
            crossed = cross_fit(data, rows, recipe.fit, core.seed, _report_evaluation)
        watcher = Watcher(
            _report_training, lambda schema: None, lambda warning: _write_event(warning=warning)
        )
        bundle = train_bundle(Prepared(job, data, rows, None, seconds), watcher, crossed)
        _report_progress("gate", TRAINED)
        recipes: list[Sides] = []
        if crossed is not None:
            recipes.append((crossed if rival is None else rival.result(), crossed))
        artefacts: list[Sides] = []
        if held_out:
            kept = np.flatnonzero(trust.held_out)
            theirs = _rank_held_out(champion, data, kept) if refitted is None else refitted.result()
            artefacts.append((theirs, _rank_held_out(bundle, data, kept)))

    labelled = [v.record for v in verdicts]
    before = _placements(*_answers(champion, convert(labelled, core.features)), request.budget)
    after = _placements(*_answers(bundle, convert(labelled, data.schema)), request.budget)
    weight = weights(len(data.labels), snapshot.place, verdicts)
    measured = [*artefacts, *recipes]
    ranked = (
        rank_among_reference(data.labels, weight, trust.trusted, measured[0], bool(artefacts))
        if measured
        else None
    )
    evidence = gate.GateEvidence(
        ranked=ranked,
        confirmed=confirmed(snapshot.place, verdicts, measured),
        traffic=_traffic(champion, bundle, traffic, snapshot, request.budget),
        budget=request.budget,
    )
    decision = gate.decide(evidence, core.seed)
    left_out = {
        row: placement
        for _, side in measured
        for row, placement in zip(
            side.rows.tolist(), _placements(side.score, side.rank, request.budget), strict=True
        )
    }
    return TrainingResult(
        accepted=decision.accepted,
        reasons=list(decision.reasons),
        figures=decision.figures,
        version=bundle.version,
        digest=snapshot.digest,
        rows=len(snapshot.data.labels),
        learnt=[
            LearntRecord(
                digest=v.digest,
                before=before[i],
                after=after[i],
                held_out=left_out.get(int(snapshot.place[i])),
            )
            for i, v in enumerate(verdicts)
            if snapshot.place[i] >= 0
        ],
        problems=list(problems),
        measured=decision.measured,
    )


def _champion(request: TrainingRequest) -> Bundle:
    """The bundle that the worker looked at, and no other that was put in its place. Raises BundleError."""
    champion = read_bundle(Path(request.champion))
    if champion.version != request.version:
        raise BundleError(f"{request.champion} holds another version by now: the store was changed by hand")
    check_operators(champion.model, request.champion)
    return champion


def _own_recipe(champion: Bundle, given: Recipe | None) -> Recipe:
    """The champion's recipe; the one that is given where this release does not know the champion's."""
    try:
        return Recipe.model_validate(champion.manifest.core.config)
    except ValidationError:  # made by a release with other knobs
        if given is not None:
            return given
        _write_event(warning="the champion's recipe is not known to this release: the default one is used")
        return Recipe.read(None)


def _answers(bundle: Bundle, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] of a bundle's own graph, and their ranks among its reference rows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    feed = {"numeric": arrays.numeric, "codes": arrays.codes}
    scores = np.asarray(session.run(["score"], {n: a for n, a in feed.items() if n in wanted})[0])
    return scores, ranks(scores, np.asarray(bundle.manifest.core.reference.scores, np.float32))


def _rank_held_out(bundle: Bundle, data: Dataset, rows: np.ndarray) -> CrossFit:
    """Rows of `data` by a bundle that did not train on them, in the shape of a cross-fit.

    Ranks of its own reference rows among themselves are the same for every bundle: evenly spread.
    """
    schema = bundle.manifest.core.features
    arrays = convert(records(data.schema, data.numeric[rows], data.codes[rows], {}), schema)
    scores, ranked = _answers(bundle, arrays)
    return CrossFit(rows, scores, ranked, evenly_spread())


def _placements(scores: np.ndarray, ranked: np.ndarray, budget: float) -> list[Placement]:
    """Of scores [N] and their ranks [N]; percentiles are told as /score tells them."""
    percentiles = np.round(100 * ranked, PERCENTILE_DIGITS)
    alerts = ranked >= lowest_rank(budget)
    return list(map(Placement, scores.tolist(), percentiles.tolist(), alerts.tolist()))


def _traffic(
    champion: Bundle,
    challenger: Bundle,
    records: Sequence[Mapping[str, Any]],
    snapshot: Snapshot,
    budget: float,
) -> gate.RecentTraffic:
    """Alerts on all but confirmed anomalies: an alert on one of those is no excess."""
    open_ = ~snapshot.confirmed
    if not open_.any():
        return gate.RecentTraffic(0, 0, 0)
    _, before = _answers(champion, convert(records, champion.manifest.core.features))
    _, after = _answers(challenger, snapshot.traffic)
    alerts = (int((ranked[open_] >= lowest_rank(budget)).sum()) for ranked in (before, after))
    return gate.RecentTraffic(int(open_.sum()), *alerts)


def _silent(done: float) -> None:
    """Progress of what runs beside."""


def _report_evaluation(done: float) -> None:
    _report_progress("evaluate", SNAPSHOT + (MEASURED - SNAPSHOT) * done)


def _report_training(stage: str, done: float) -> None:
    _report_progress(stage, MEASURED + (TRAINED - MEASURED) * done)


def _report_progress(stage: str, progress: float) -> None:
    _write_event(stage=stage, progress=round(progress, 3))


def _write_event(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _end_with_starter() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(folder: Path) -> int:
    os.nice(10)  # scoring goes first
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        result = retrain(folder)
        write_durably(folder / "result.part", msgspec.json.format(msgspec.json.encode(result), indent=1))
        (folder / "result.part").rename(folder / "result.json")  # whole or not there
    except NearnormError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except BrokenProcessPool:
        sys.stderr.write(
            f"a process of the training was killed, as the system does when memory runs out: {GIVE_MORE}\n"
        )
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(hint in str(error) for hint in NO_MEMORY):
            raise
        sys.stderr.write(f"training ran out of memory: {GIVE_MORE}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{error.filename or folder}: {error.strerror or error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

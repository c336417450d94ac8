"""One retraining, as a process of its own: a folder with a request in, a bundle and the gate's word out.

    python -m nearnorm.training.loop.retrain FOLDER

FOLDER holds request.json, and traffic.jsonl and labels.jsonl from the ledger. Progress goes to stdout, a
JSON object a line. It ends with a bundle in FOLDER/bundle and, written last, FOLDER/result.json; or with
exit code 2 and one line on stderr for what a user can mend. Whoever starts it holds its stdin: when that
closes, its starter is gone and it ends itself, so that nothing trains for nobody.
"""

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, ValidationError

from nearnorm.models.bundle import Bundle, read_bundle, write_durably
from nearnorm.models.errors import NearnormError
from nearnorm.models.tables import Arrays
from nearnorm.training.dataset.load import ANOMALY, Split, load, split
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.dataset.source import resolve
from nearnorm.training.evaluation.crossfit import CrossFit, cross_fit, measurable, ranks
from nearnorm.training.job import Prepared, TrainingJob, Watcher
from nearnorm.training.loop import gate
from nearnorm.training.loop.snapshot import (
    Snapshot,
    Verdict,
    check_columns,
    convert,
    read_lines,
    take,
)
from nearnorm.training.method.config import FitConfig
from nearnorm.training.pipeline import train_bundle

GIVE_MORE = "give the worker more, or less base data"
NO_MEMORY = ("allocate memory", "bad_alloc", "start new thread")
"""What torch, onnxruntime and threads say of it; they have no exception for it."""
SNAPSHOT, MEASURED, TRAINED = 0.05, 0.4, 0.95
"""The share of the whole that is done when a stage ends."""


class Request(BaseModel):
    """What a worker asks for. `champion` is a bundle's folder, `source` base data that goes before the
    champion's own, `config` a recipe that goes before it; `budget` is the alert budget's share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: Path
    source: str | None = None
    config: Path | None = None
    budget: float


class Learnt(BaseModel):
    """What became of one labelled record: its scores."""

    digest: str
    before: float
    after: float
    held_out: float | None


class Result(BaseModel):
    """result.json. `problems` are sentences about labels that could not be used."""

    accepted: bool
    reasons: list[str]
    figures: dict[str, object]
    version: str
    digest: str
    rows: int
    learnt: list[Learnt]
    problems: list[str]


def retrain(folder: Path) -> Result:
    """Raises NearnormError for what a user can mend."""
    _tell("snapshot", 0.0)
    started = time.perf_counter()
    request = Request.model_validate_json((folder / "request.json").read_bytes())
    champion = read_bundle(request.champion)
    core = champion.manifest.core
    recipe = _recipe(request, champion)
    source = request.source or resolve(champion.manifest.source)
    base = load(source, core.data.label_column, recipe.columns, core.data.time_column)
    check_columns(source, base.schema, core.features)
    verdicts = [Verdict(**line) for line in read_lines(folder / "labels.jsonl")]
    traffic = [line["record"] for line in read_lines(folder / "traffic.jsonl")]
    snapshot = take(base, traffic, verdicts)
    data = snapshot.data
    rows = split(data, core.seed)
    for problem in snapshot.problems:
        _line(warning=problem)

    job = TrainingJob(
        source=source,
        out=folder / "bundle",
        recipe=recipe,
        label_column=core.data.label_column,
        time_column=core.data.time_column,
        seed=core.seed,
    )
    seconds = time.perf_counter() - started
    _tell("evaluate", SNAPSHOT)
    with ProcessPoolExecutor(1, get_context("spawn")) as beside:
        crossed, rival = None, None
        if measurable(data.labels[rows.fit]):
            before = _fit_config(champion, recipe)
            if before != recipe.fit or (snapshot.known != data.labels).any() or not snapshot.present.all():
                rival = beside.submit(
                    cross_fit, data, rows, before, core.seed, _silent, snapshot.known, snapshot.present
                )
            crossed = cross_fit(data, rows, recipe.fit, core.seed, _tell_measured)
        watcher = Watcher(_tell_trained, lambda schema: None, lambda warning: _line(warning=warning))
        bundle = train_bundle(Prepared(job, data, rows, None, seconds), watcher, crossed)
        _tell("gate", TRAINED)
        champions = crossed if rival is None else rival.result()

    before_scores, champion_ranks = _answers(champion, convert([v.record for v in verdicts], core.features))
    after_scores, challenger_ranks = _answers(bundle, convert([v.record for v in verdicts], data.schema))
    threshold = 1 - request.budget - 1e-9
    evidence = gate.GateEvidence(
        ranked=_ranked(snapshot, rows, verdicts, champions, crossed),
        confirmed=tuple(
            gate.Confirmed(v.feedback_id, v.anomaly, float(champion_ranks[i]), float(challenger_ranks[i]))
            for i, v in enumerate(verdicts)
            if snapshot.place[i] >= 0
        ),
        traffic=_traffic(champion, bundle, traffic, snapshot, threshold),
        budget=request.budget,
    )
    decision = gate.decide(evidence, core.seed)
    held_out = (
        {} if crossed is None else dict(zip(crossed.rows.tolist(), crossed.score.tolist(), strict=True))
    )
    return Result(
        accepted=decision.accepted,
        reasons=list(decision.reasons),
        figures=decision.figures,
        version=bundle.version,
        digest=snapshot.digest,
        rows=len(data.labels),
        learnt=[
            Learnt(
                digest=v.digest,
                before=float(before_scores[i]),
                after=float(after_scores[i]),
                held_out=held_out.get(int(snapshot.place[i])),
            )
            for i, v in enumerate(verdicts)
            if snapshot.place[i] >= 0
        ],
        problems=list(snapshot.problems),
    )


def _recipe(request: Request, champion: Bundle) -> Recipe:
    if request.config is not None:
        return Recipe.read(request.config)
    try:
        return Recipe.model_validate(champion.manifest.core.config)
    except ValidationError:  # made by a release with other knobs
        _line(warning="the champion's recipe is not known to this release: the default one is used")
        return Recipe.read(None)


def _fit_config(champion: Bundle, recipe: Recipe) -> FitConfig:
    """The champion's own recipe, as far as this release knows it."""
    try:
        return Recipe.model_validate(champion.manifest.core.config).fit
    except ValidationError:
        return recipe.fit


def _answers(bundle: Bundle, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] of a bundle's own graph, and their ranks among its reference rows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    feed = {"numeric": arrays.numeric, "codes": arrays.codes}
    scores = np.asarray(session.run(["score"], {n: a for n, a in feed.items() if n in wanted})[0])
    return scores, ranks(scores, np.asarray(bundle.manifest.core.reference.scores, np.float32))


def _ranked(
    snapshot: Snapshot,
    rows: Split,
    verdicts: list[Verdict],
    champion: CrossFit | None,
    challenger: CrossFit | None,
) -> gate.Ranked | None:
    """Every label's held-out ranks by both recipes, among the reference rows, which count once each."""
    if champion is None or challenger is None:
        return None
    weight = np.ones(len(snapshot.data.labels))
    for verdict, row in zip(verdicts, snapshot.place, strict=True):
        if row >= 0:
            weight[row] = 1 / verdict.probability
    fits, reference = challenger.reference_rank.shape
    labelled = challenger.rows
    return gate.Ranked(
        truth=np.concatenate(
            [(snapshot.data.labels[labelled] == ANOMALY).astype(int), np.zeros(fits * reference, int)]
        ),
        weight=np.concatenate([weight[labelled], np.full(fits * reference, 1 / fits)]),
        unit=np.concatenate([np.arange(len(labelled)), len(labelled) + np.tile(np.arange(reference), fits)]),
        champion=np.concatenate([champion.rank, champion.reference_rank.ravel()]),
        challenger=np.concatenate([challenger.rank, challenger.reference_rank.ravel()]),
    )


def _traffic(
    champion: Bundle,
    challenger: Bundle,
    records: list[dict[str, object]],
    snapshot: Snapshot,
    threshold: float,
) -> gate.RecentTraffic:
    """Alerts on all but confirmed anomalies: an alert on one of those is no excess."""
    open_ = ~snapshot.confirmed
    if not open_.any():
        return gate.RecentTraffic(0, 0, 0)
    _, before = _answers(champion, convert(records, champion.manifest.core.features))
    _, after = _answers(challenger, snapshot.traffic)
    alerts = (int((ranked[open_] >= threshold).sum()) for ranked in (before, after))
    return gate.RecentTraffic(int(open_.sum()), *alerts)


def _silent(done: float) -> None:
    """Progress of what runs beside."""


def _tell_measured(done: float) -> None:
    _tell("evaluate", SNAPSHOT + (MEASURED - SNAPSHOT) * done)


def _tell_trained(stage: str, done: float) -> None:
    _tell(stage, MEASURED + (TRAINED - MEASURED) * done)


def _tell(stage: str, progress: float) -> None:
    _line(stage=stage, progress=round(progress, 3))


def _line(**event: object) -> None:
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
        write_durably(folder / "result.part", result.model_dump_json(indent=1).encode())
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

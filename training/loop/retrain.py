"""One retraining, as a process of its own: a folder with a request in, a bundle and the gate's word out.

    python -m nearnorm.training.loop.retrain FOLDER

FOLDER holds what models/retraining.py describes. Progress goes to stdout, a JSON object a line. It ends
with a bundle in FOLDER/bundle and, written last, FOLDER/result.json; or with exit code 2 and one line on
stderr for what a user can mend. Whoever starts it holds its stdin: when that
closes, its starter is gone and it ends itself, so that nothing trains for nobody.
"""

import os
import shutil
import signal
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from pydantic import ValidationError

from nearnorm.models.bundle.bundle import Bundle, read_bundle, write_durably
from nearnorm.models.bundle.operators import check_operators
from nearnorm.models.errors import BundleError, NearnormError
from nearnorm.models.retraining import (
    TrafficRecord,
    TrainingRequest,
    TrainingResult,
    Verdict,
    read_lines,
    read_part,
)
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.loop.base_data import read_base, read_reference
from nearnorm.training.loop.challenger import Challenge, Setting, challenge, doubted, rank_verdicts
from nearnorm.training.loop.progress import report_progress, warn
from nearnorm.training.loop.suspect import contradiction, suspects

GIVE_MORE = "give the worker more, or less base data"
NO_MEMORY = ("allocate memory", "bad_alloc", "start new thread")
"""What torch, onnxruntime and threads say of it; they have no exception for it."""


def retrain(folder: Path) -> TrainingResult:
    """Raises NearnormError for what a user can mend."""
    report_progress("snapshot", 0.0)
    started = time.perf_counter()
    request = read_part(folder / "request.json", TrainingRequest)
    champion = _champion(request)
    given = Recipe.read(Path(request.config)) if request.config else None
    own = _own_recipe(champion, given)
    recipe = given or own
    base = read_base(champion.manifest, request.source, recipe, own, request.trusted)
    verdicts = read_lines(folder / "labels.jsonl", Verdict)
    traffic = [line.record for line in read_lines(folder / "traffic.jsonl", TrafficRecord)]
    sample, changed = read_reference(champion.manifest, request.reference, base.data.schema, request.trusted)
    problems = [problem for problem in (changed, base.changed, _unvalidated(champion)) if problem]
    for problem in problems:
        warn(problem)
    setting = Setting(champion, own, recipe, base, sample, traffic, request.budget)
    seconds = time.perf_counter() - started
    made, key, left_out = _challenge(setting, verdicts, folder, seconds)
    decision = made.decision
    return TrainingResult(
        accepted=decision.accepted,
        reasons=list(decision.reasons),
        figures=decision.figures,
        version=made.bundle.version,
        digest=made.snapshot.digest,
        rows=len(made.snapshot.data.labels),
        learnt=made.learnt,
        problems=[*problems, *made.snapshot.problems],
        measured=decision.measured,
        left_out=key,
        doubted=doubted(champion, left_out),
    )


def _challenge(
    setting: Setting, verdicts: list[Verdict], folder: Path, seconds: float
) -> tuple[Challenge, str | None, list[Verdict]]:
    """The challenger, and the key without whose words it was made, and those words."""
    rank = rank_verdicts(setting.champion, verdicts)
    against = contradiction(setting, verdicts, rank)
    if against is None:
        made = challenge(setting, verdicts, folder / "bundle", seconds)
        if made.decision.accepted:
            return made, None, []
        return _without_suspect(setting, verdicts, rank, folder, made, seconds)
    rest = [verdict for verdict in verdicts if verdict not in against.words]
    warn(f"labels of key {against.key!r} are left out: the others contradict them")
    made = challenge(setting, rest, folder / "bundle", seconds)
    reason = (
        f"{len(against.words)} labels that key {against.key!r} alone brought are left out: by a model that "
        f"learnt from all others, the anomalies among them lie {against.times:.1f} times as deep as the "
        "others' do"
    )
    return _left_out(made, against.key, reason), against.key, against.words


def _without_suspect(
    setting: Setting,
    verdicts: list[Verdict],
    rank: np.ndarray,
    folder: Path,
    refused: Challenge,
    seconds: float,
) -> tuple[Challenge, str | None, list[Verdict]]:
    """One labeller's words shall not keep out what the others found: try without those of the likeliest, and
    go by what was refused where that does not help."""
    key = next(iter(suspects(verdicts, rank)), None)
    rest = [verdict for verdict in verdicts if verdict.key != key]
    if key is None or all(verdict.known for verdict in rest):
        return refused, None, []
    warn(f"refused with the labels of key {key!r}: tried again without them")
    again = challenge(setting, rest, folder / "again", seconds)
    if not again.decision.accepted:
        shutil.rmtree(folder / "again")
        return refused, None, []
    shutil.rmtree(folder / "bundle")
    (folder / "again").rename(folder / "bundle")
    reason = (
        f"{len(verdicts) - len(rest)} labels that key {key!r} alone brought are left out: with them it was "
        f"refused, as {refused.decision.reasons[0]}"
    )
    made = replace(again, bundle=read_bundle(folder / "bundle"))
    return _left_out(made, key, reason), key, [verdict for verdict in verdicts if verdict.key == key]


def _left_out(made: Challenge, key: str, reason: str) -> Challenge:
    """The challenger, with whose labels it was made without, and why, told first."""
    decision = made.decision
    told = replace(
        decision, reasons=(reason, *decision.reasons), figures={**decision.figures, "left_out": key}
    )
    return replace(made, decision=told)


def _champion(request: TrainingRequest) -> Bundle:
    """The bundle that the worker looked at, and no other that was put in its place. Raises BundleError."""
    champion = read_bundle(Path(request.champion))
    if champion.version != request.version:
        raise BundleError(f"{request.champion} holds another version by now: the store was changed by hand")
    check_operators(champion.model, request.champion)
    return champion


def _unvalidated(champion: Bundle) -> str | None:
    source = champion.manifest.validation_source
    return source and (
        f"the champion's training was stopped by the labelled rows of {source}; a retraining reads none and "
        "stops by held-out rows without labels"
    )


def _own_recipe(champion: Bundle, given: Recipe | None) -> Recipe:
    """The champion's recipe; the one that is given where this release does not know the champion's."""
    try:
        return Recipe.model_validate(champion.manifest.core.config)
    except ValidationError:  # made by a release with other knobs
        if given is not None:
            return given
        warn("the champion's recipe is not known to this release: the default one is used")
        return Recipe.read(None)


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

"""What /score remembers of a request: analysts' verdicts decide, and events are kept for review."""

from collections.abc import Callable, Sequence

import numpy as np

from nearnorm.service.events.log import EventLog, ScoredBatch
from nearnorm.service.events.traffic_counter import NOTHING_RAISED, RaisedBy
from nearnorm.service.feedback.verdict_cache import VerdictCache
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.feedback.labels import Standing
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.shapes import Matched
from nearnorm.service.scoring.answer_parts import NOTHING, Remembered
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores
from nearnorm.service.verdict.policies import InForce, Policies


class Memory:
    """Between scores and answer."""

    def __init__(self, log: EventLog, policies: Policies, verdicts: VerdictCache) -> None:
        self._log = log
        self._policies = policies
        self._verdicts = verdicts

    def note(
        self,
        model: LoadedModel,
        encoded: Encoded,
        scores: Scores,
        caller: str,
        source: Callable[[int], str] | None = None,
    ) -> Remembered:
        """Let what analysts said decide, and keep what is to be kept. Changes `scores.anomaly`.

        `source` names the message that a row came by, by its place.
        """
        name, by_label = model.ref.name, 0
        alert = judged = scores.anomaly
        found = self._verdicts.of(name).find(model.encoder.schema, encoded)
        matched = {}
        if found:
            scores.anomaly = list(alert)
            in_force = self._policies.of(name)
            for index, standing in found.items():
                matched[index] = _judge(scores, index, standing, in_force)
                by_label += scores.anomaly[index] and not alert[index]
            alert = list(map(bool.__or__, alert, scores.anomaly))
        raised = NOTHING_RAISED
        if True in scores.anomaly:
            by_novelty = _by_novelty(model, scores, judged) if scores.novel else 0
            by_score = scores.anomaly.count(True) - by_label - by_novelty
            raised = RaisedBy(by_score, by_novelty, by_label)
        # what the budget alone held back is kept like alerts
        if model.held_from is not None and max(scores.score) >= model.held_from:
            held = [
                not kept and score >= model.held_from for kept, score in zip(alert, scores.score, strict=True)
            ]
            alert = list(map(bool.__or__, alert, held))
            raised = raised._replace(held_back=held.count(True))
        self._log.traffic.note(name, model.ref.version, caller, scores.scored, raised)
        picked = self._log.pick(alert)
        if not picked.rows:
            return Remembered({}, matched) if matched else NOTHING
        batch = ScoredBatch(
            name,
            model.ref.version,
            model.encoder,
            encoded,
            scores.score,
            scores.percentile,
            alert,
            scores.anomaly,
            scores.prototype,
            caller,
            source,
        )
        return Remembered(self._log.keep(batch, picked), matched)


def _by_novelty(model: LoadedModel, scores: Scores, judged: Sequence[bool]) -> int:
    """Alerts that the score alone would not have raised; `judged` is the verdict before analysts' labels."""
    rows = [row for row in scores.novel if judged[row] and scores.anomaly[row]]
    _, alone = model.ranks.judge(scores.scored[rows])
    return len(rows) - int(np.count_nonzero(alone))


def _judge(scores: Scores, index: int, standing: Standing, in_force: InForce | None) -> Matched:
    """The verdict of analysts on an equal record; a conflict among them decides nothing."""
    found = Matched(standing.feedback_id, standing.verdict)
    if standing.verdict == "anomaly":
        scores.anomaly[index] = True
    elif standing.verdict == "normal" and in_force and (until := in_force.suppresses(standing.at)):
        found.suppressed = scores.anomaly[index]
        found.suppresses_until = iso(until)
        scores.anomaly[index] = False
    return found

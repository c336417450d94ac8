"""Which rows of a request are explained, and their reasons as callers read them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct

from nearnorm.service.errors import ServiceError
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.shapes import Envelope, Reason
from nearnorm.service.scoring.answer_parts import Reasons
from nearnorm.service.serving.explaining import ScoredRows
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores
from nearnorm.service.verdict.reasons import Explained

MOST_ROWS = 256
"""Explained of one request: each costs what scoring a hundred rows does."""

WEBHOOKS = "webhooks"
"""Who asks for reasons that messages tell: no API key has turns with it."""
LONGEST = 5.0  # seconds


class Assessed(Struct, frozen=True):
    """What a model says of one record now. `anomaly` is by score and novelty, whatever analysts said of it;
    `prototype`: whose group it was compared with."""

    score: float
    percentile: float
    anomaly: bool
    novel: list[str]
    novel_distance: bool
    prototype: int
    reasons: list[Reason]


async def assess(model: LoadedModel, records: list[dict[str, Any]], caller: str) -> list[Assessed | None]:
    """What `model` would say of records now, and why; None for one that does not fit its schema. Callers take
    turns. Raises Overloaded, DeadlineExceeded."""
    encoded = model.encoder.encode(Envelope(records=records))
    found: list[Assessed | None] = [None] * len(records)
    if not len(encoded.rows):
        return found
    outputs = await asyncio.to_thread(model.engine.run, encoded.rows)
    parts = await model.explaining.submit(ScoredRows(encoded.rows, outputs), caller)
    percentile, anomaly = model.ranks.judge(outputs.score)
    novel = model.novelty.find(encoded.rows, outputs.distance)
    residuals = outputs.residual.tolist()
    for row, explained in enumerate(chain.from_iterable(parts)):
        record, signals = model.encoder.record(encoded, row), novel.get(row, ())
        alerts = model.alert_on_novel and not model.novelty_watch.ceased.keys() >= set(signals)
        prototype = explained.prototype
        found[encoded.places()[row]] = Assessed(
            float(outputs.score[row]),
            float(percentile[row]),
            bool(anomaly[row]) or alerts,
            model.novelty.features(signals),
            model.novelty.distance in signals,
            int(outputs.prototype[row]) if prototype is None else prototype,
            model.explainer.reasons(record, explained, residuals[row]),
        )
    return found


def told_reasons(
    loop: asyncio.AbstractEventLoop, bring: Callable[[str], Awaitable[LoadedModel]]
) -> Callable[[str, list[dict[str, Any]]], list[list[Reason]]]:
    """For another thread than the loop's: a model's reasons for each record now. None where the model is not
    there, does not read the record, or has no time."""

    def explain(model: str, records: list[dict[str, Any]]) -> list[list[Reason]]:
        async def assessed() -> list[Assessed | None]:
            return await assess(await bring(model), records, WEBHOOKS)

        asked = asyncio.run_coroutine_threadsafe(assessed(), loop)
        try:
            found = asked.result(LONGEST)
        except (ServiceError, TimeoutError, RuntimeError):  # overloaded, or about to stop
            asked.cancel()
            return [[] for _ in records]
        return [one.reasons if one else [] for one in found]

    return explain


class Explanation(Struct, frozen=True):
    """The rows of a request that are to be explained, by their index among those scored."""

    rows: list[int]
    scored: ScoredRows

    @classmethod
    def of(cls, scores: Scores) -> "Explanation":
        """All of them, or the MOST_ROWS with the highest scores."""
        highest = sorted(range(len(scores)), key=scores.score.__getitem__, reverse=True)[:MOST_ROWS]
        rows = sorted(highest)
        places = [scores.start + row for row in rows]
        return cls(rows, ScoredRows(scores.batch.rows.take(places), scores.batch.outputs.take(places)))

    def reasons(self, model: LoadedModel, encoded: Encoded, parts: Sequence[Sequence[Explained]]) -> Reasons:
        """`parts` are what the model's lane came to."""
        found: dict[int, list[Reason]] = {}
        prototypes = set(self.scored.outputs.prototype.tolist())
        residuals = self.scored.outputs.residual.tolist()
        for row, residual, explained in zip(self.rows, residuals, chain.from_iterable(parts), strict=True):
            found[row] = model.explainer.reasons(model.encoder.record(encoded, row), explained, residual)
            if explained.prototype is not None:
                prototypes.add(explained.prototype)
        scored = len(encoded.rows)
        groups = {str(p): group for p in sorted(prototypes) if (group := model.explainer.group(p))}
        if len(self.rows) == scored:
            return Reasons(found, groups)
        return Reasons(
            found,
            groups,
            f"reasons are given for the {MOST_ROWS} highest of {scored} rows: send the others by themselves",
        )

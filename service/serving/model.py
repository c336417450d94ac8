"""A loaded model: a version that may serve, with its batcher, its ranks, its explanations and its drift."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

import numpy as np
from msgspec import Struct

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.conformal import Ranks, default_policy
from nearnorm.service.access.quota import Meter
from nearnorm.service.drift.monitor import Drift, DriftOnset
from nearnorm.service.inference.engine import Engine
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.logs import log
from nearnorm.service.metrics.counters import LineRows, Metrics, ModelMeter
from nearnorm.service.records.encoded import Rows, gathered
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.limits import most_rows
from nearnorm.service.records.shapes import ModelRef
from nearnorm.service.serving.batcher import Batcher, Limits
from nearnorm.service.serving.explaining import ExplainingLane, explaining_lane
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.lanes import Lanes
from nearnorm.service.serving.results import Batch, Scores
from nearnorm.service.serving.weak_callback import weakly
from nearnorm.service.token_bucket import TokenBucket
from nearnorm.service.verdict.novelty import ALLOWED, WINDOW, Novelty, NoveltyWatch
from nearnorm.service.verdict.reasons import Explained, Explainer

WATCHED_ROWS = 2_000
"""Rows a second that drift is watched in: beyond it a sample says as much, and a row costs 2 to 6 us."""


class Ran(Struct, eq=False):
    """Rows that ran together, the model's answers, and how long it took."""

    rows: Rows
    outputs: Outputs
    seconds: float


class SeenTraffic(Struct, eq=False):
    """What a version saw of its traffic in this process, which outlives the model in memory."""

    version: str
    drift: Drift
    novelty: NoveltyWatch


class LoadedModel:
    """A version that may serve: its golden rows came out right on this machine. `bytes` is about what it
    takes of memory, `used_at` when it was last asked for (monotonic)."""

    def __init__(self, name: str, manifest: Manifest, engine: Engine, max_rows: int, size: int = 0) -> None:
        core = manifest.core
        self.bytes = size
        self.used_at = 0.0
        self.manifest = manifest
        self.created_at = datetime.fromisoformat(manifest.created_at).timestamp()  # seconds since 1970
        self.ref = ModelRef(name, manifest.version)
        self.engine = engine
        self.encoder = Encoder(core.features, most_rows(max_rows, len(core.features.scored)))
        self.explainer = Explainer(core, engine.run)
        self.ranks = Ranks(core.reference.scores, default_policy(core.reference.rows))
        self.held_from: float | None = None  # from this score on it is the budget alone that holds back
        self.novelty = Novelty(core)
        self.facts = ModelFacts(self.ref, engine.provider, self.novelty)
        self.alert_on_novel = True
        self.seen = SeenTraffic(manifest.version, Drift(core, weakly(self._drifts)), NoveltyWatch())
        self.drift, self.novelty_watch = self.seen.drift, self.seen.novelty
        self.watched = TokenBucket(WATCHED_ROWS, 0.0)
        self.quota: Meter | None = None  # of its line
        self.watch_problem: str | None = None  # what the watch after its swap has against it
        self.batcher: Batcher[Rows, Ran, Scores]
        self.explaining: ExplainingLane
        self.meter: ModelMeter
        self.counted: LineRows

    def serve(
        self,
        metrics: Metrics,
        limits: Limits,
        lanes: Lanes,
        executor: ThreadPoolExecutor,
        explaining: ThreadPoolExecutor,
    ) -> None:
        """Take requests from now on, in this thread's event loop."""
        self.counted = metrics.line(self.ref.name)
        self.measure(metrics.model(self.ref.name))
        self.batcher = Batcher(
            weakly(self.run),
            weakly(self.split),
            limits,
            executor,
            weakly(self._waited),
            partial(lanes.step, self.ref.name),
        )
        self.explaining = explaining_lane(
            weakly(self.explain), limits.deadline_seconds, explaining, weakly(self._waited_for_reasons)
        )

    def measure(self, meter: ModelMeter) -> None:
        """Count by another meter from now on."""
        self.meter = meter
        meter.serving = (self.ref.version, self.engine.provider)

    def _waited(self, seconds: list[float]) -> None:
        self.meter.queue_seconds.observe_all(seconds)

    def _waited_for_reasons(self, seconds: list[float]) -> None:
        self.meter.explain_queue_seconds.observe_all(seconds)

    def go_on(self, seen: SeenTraffic) -> None:
        """With what this version saw when it was in memory before."""
        self.seen, self.drift, self.novelty_watch = seen, seen.drift, seen.novelty
        self.drift.on_report = weakly(self._drifts)

    def _drifts(self, report: DriftOnset) -> None:
        self.meter.drift_reports += 1
        log.warning(
            "drift",
            model=self.ref.name,
            version=self.ref.version,
            kind=report.signal.kind,
            signal=report.signal.name,
            psi=round(report.psi, 4),
            window_rows=report.window,
        )

    def run(self, items: Sequence[Rows]) -> Ran:
        """One batch, its items together. Called in several threads at once."""
        rows = gathered(items)
        started = time.perf_counter()
        outputs = self.engine.run(rows)
        return Ran(rows, outputs, time.perf_counter() - started)

    def explain(self, rows: Rows, outputs: Outputs) -> list[Explained]:
        """Why rows got their scores. Called in another thread."""
        return self.explainer.explain(rows, outputs)

    def split(self, items: Sequence[Rows], ran: Ran) -> list[Scores]:
        """What ran together, judged and one for each item."""
        batch = self._judged(ran)
        parts, start = [], 0
        for item in items:
            stop = start + len(item)
            parts.append(Scores(batch, start, stop, batch.percentile[start:stop], batch.anomaly[start:stop]))
            start = stop
        return parts

    def _judged(self, ran: Ran) -> Batch:
        outputs = ran.outputs
        percentile, anomaly = self.ranks.judge(outputs.score)
        novel = self.novelty.find(ran.rows, outputs.distance)
        if novel and self.alert_on_novel:
            anomaly[self.novelty_watch.alerting(novel)] = True
        for signal in self.novelty_watch.count(len(anomaly), novel):
            self._ceased(signal)
        self.counted.scored += len(anomaly)
        self.meter.ran(ran.seconds, outputs.score, int(np.count_nonzero(anomaly)))
        return Batch(
            ran.rows,
            outputs,
            outputs.score.tolist(),
            percentile.tolist(),
            anomaly.tolist(),
            outputs.prototype.tolist(),
            outputs.distance.tolist(),
            outputs.reconstruction_error.tolist(),
            novel,
        )

    def _ceased(self, signal: int) -> None:
        log.warning(
            "novelty",
            model=self.ref.name,
            version=self.ref.version,
            signal=self.novelty.name(signal),
            rows=ALLOWED,
            window_rows=WINDOW,
        )

    def problems(self) -> list[str]:
        """What is wrong with its verdicts."""
        found = [
            f"model {self.ref.name!r}: {self.novelty.name(signal)} is beyond what training saw in more than "
            f"{ALLOWED} of {WINDOW:,} rows, and no longer alerts for that: retrain on newer data"
            for signal in self.novelty_watch.ceased.copy()
        ]
        return [self.watch_problem, *found] if self.watch_problem else found

    def watch(self, batch: Batch) -> None:
        """Let drift see a batch, as much of it as its allowance grants."""
        batch.watched = True
        granted = self.watched.take(len(batch.rows), time.monotonic())
        if granted and self.drift.observe(batch.rows.part(0, granted), batch.outputs, batch.event_ids):
            # not before the batch's other requests have noted their events
            asyncio.get_running_loop().call_soon(self.drift.settle)

"""The state of rooms as Prometheus sees it: models, queue, event log, ledger. Gauges, read when scraped.

What needs a query is read by the follower now and then, and only handed out here: a scrape never
waits for the ledger.
"""

import operator
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from nearnorm.service.background import Background
from nearnorm.service.events.log import QUEUE_ROWS, EventLog
from nearnorm.service.feedback.figures import recall
from nearnorm.service.feedback.figures.recall import Recall
from nearnorm.service.feedback.verdict_cache import VerdictCache
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import backups, jobs
from nearnorm.service.ledger.tables.feedback import second_opinions
from nearnorm.service.ledger.tables.feedback.labels import verdicts
from nearnorm.service.ledger.tables.jobs import ENDED
from nearnorm.service.ledger.tables.webhooks import outbox, subscriptions
from nearnorm.service.metrics.busiest import OTHER, BusiestLines, ByLine
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.turns import GREETED
from nearnorm.service.serving.registry import Registry
from nearnorm.service.verdict.budget import NormalShare, PerDay
from nearnorm.service.verdict.policies import Policies

Family = CounterMetricFamily | GaugeMetricFamily

READ_EVERY = 15.0  # seconds
VERDICTS = ("anomaly", "normal", "conflict")
MESSAGE_STATES: tuple[outbox.State, ...] = ("waiting", "dead")
STATES = ("queued", "running", *ENDED)
_MODEL = ("model",)


class LabelFigures(Struct, frozen=True):
    """What a model's labels and jobs came to when the ledger was last read. Times are ms since 1970."""

    verdicts: dict[str, int]
    unlearned: int
    doubted: int
    oldest: int | None
    recall: Recall | None
    jobs: dict[str, int]
    due: int | None  # since when a job waits that nothing holds back but a worker


def read(connection: sa.Connection, model: str, version: str) -> LabelFigures:
    """`version` is the one that serves."""
    verdict_ = verdicts.c.verdict
    standing = sa.select(verdict_, sa.func.count()).where(verdicts.c.model == model).group_by(verdict_)
    counted: dict[str, int] = dict(iter(connection.execute(standing)))
    unread = requests.unread(connection, model)
    counting = sa.select(jobs.jobs.c.state, sa.func.count()).where(jobs.jobs.c.model == model)
    ended: dict[str, int] = dict(iter(connection.execute(counting.group_by(jobs.jobs.c.state))))
    job = jobs.waiting(connection, model)
    return LabelFigures(
        {verdict: counted.get(verdict, 0) for verdict in VERDICTS},
        unread.records,
        second_opinions.count(connection, model),
        unread.oldest,
        recall.read(connection, model, version),
        {state: ended.get(state, 0) for state in STATES},
        max(job.at, job.not_before) if job else None,
    )


class Figures(Collector):
    """Models, queue and event log as they are; labels as they were when `refresh` last read them."""

    def __init__(
        self,
        registry: Registry,
        lines: BusiestLines,
        log: EventLog,
        policies: Policies,
        background: Background,
        known: VerdictCache,
    ) -> None:
        self._registry = registry
        self._lines = lines
        self._policies = policies
        self._log = log
        self._background = background
        self._known = known
        self._labels: dict[str, LabelFigures] = {}
        self._jobs_of_others: dict[str, int] = {}
        self._activations: Counter[tuple[str, str]] = Counter()  # as they were when they were last told
        self._told: Counter[tuple[str, str]] = Counter()
        self._workers = 0
        self._backed_up = 0
        self._messages: dict[str, int] = {}
        self._dropped = 0
        self._read_at = -READ_EVERY

    @property
    def due(self) -> bool:
        return time.monotonic() - self._read_at >= READ_EVERY

    def refresh(self, connection: sa.Connection) -> None:
        """Of models that are told of together, their jobs alone are read: that is one query, and the rest
        several for each. They are read whether or not the model is in memory: of several processes each
        holds others, and a job that one tells by its model's name is not among the others' for another."""
        shown = {m: version for m, version in self._registry.versions().items() if self._lines.has(m)}
        self._labels = {model: read(connection, model, version) for model, version in shown.items()}
        self._jobs_of_others = jobs.counted(connection, but=shown)
        self._workers = len(jobs.alive(connection, now_ms() - GREETED))
        self._backed_up = backups.last(connection)
        counted = outbox.counts(connection)
        self._messages = {
            state: sum(count for (_, at), count in counted.items() if at == state) for state in MESSAGE_STATES
        }
        self._dropped = sum(webhook.dropped for webhook in subscriptions.every(connection))
        self._read_at = time.monotonic()

    def recall(self, model: str) -> Recall | None:
        figures = self._labels.get(model)
        return figures.recall if figures else None

    def reads(self, model: str) -> bool:
        """Whether a model's labels are read now and then, as it is one of those that are shown."""
        return self._lines.has(model)

    def collect(self) -> Iterator[Family]:
        yield from self._of_models()
        yield from self._of_events()
        yield from self._of_labels()
        yield from self._of_jobs()
        yield from self._of_webhooks()

    def _of_models(self) -> Iterator[Family]:
        created = ByLine(
            self._lines,
            "nearnorm_model_created_timestamp_seconds",
            "When the serving version was made.",
        )
        budget = ByLine(
            self._lines,
            "nearnorm_alert_budget_ratio",
            "Share of normal traffic that may be alerted on.",
        )
        promised = ByLine(
            self._lines,
            "nearnorm_alerts_promised",
            "Alerts a day that the budget is for, where it is one.",
        )
        forecast = ByLine(
            self._lines,
            "nearnorm_alerts_forecast",
            "Alerts in the next 24 hours: their mean, and the ends of its 90% interval.",
            labels=("bound",),
        )
        raised = ByLine(
            self._lines,
            "nearnorm_alerts_raised",
            "Alerts in the last hour, day and week.",
            labels=("window",),
            together=operator.add,
        )
        exceeded = ByLine(
            self._lines,
            "nearnorm_budget_exceeded",
            "1 while more alerts are raised than the budget, as nobody may lift the threshold so far.",
            together=max,
        )
        worse = ByLine(
            self._lines,
            "nearnorm_champion_worse",
            "1 while the watch after the swap holds something against the serving version.",
            together=max,
        )
        waiting = ByLine(
            self._lines,
            "nearnorm_queue_rows",
            "Rows accepted and not answered yet.",
            together=operator.add,
        )
        room = ByLine(
            self._lines,
            "nearnorm_queue_limit_rows",
            "Rows at which requests are answered with 429.",
            together=max,
        )
        for name, model in self._registry.loaded().items():
            created.add(name, model.created_at)
            share = model.ranks.policy.budget
            worse.add(name, float(model.watch_problem is not None))
            if in_force := self._policies.of(name):
                solved = in_force.solved
                if isinstance(solved.budget, NormalShare):
                    share = solved.budget.share
                if isinstance(solved.budget, PerDay):
                    promised.add(name, solved.budget.alerts)
                if solved.forecast:
                    for bound in ("low", "mean", "high"):
                        forecast.add(name, getattr(solved.forecast, bound), bound)
                for window in ("hour", "day", "week"):
                    raised.add(name, getattr(solved.raised, window), window)
                exceeded.add(name, float(solved.exceeded))
            budget.add(name, share)
            waiting.add(name, model.batcher.rows)
            room.add(name, model.batcher.limit)
        residents = self._registry.residents
        held = GaugeMetricFamily(
            "nearnorm_models", "Lines by whether their model is in memory.", labels=("memory",)
        )
        held.add_metric(("in",), len(residents.models))
        held.add_metric(("out",), len(self._registry.lines()) - len(residents.models))
        yield held
        yield GaugeMetricFamily("nearnorm_model_bytes", "About what models take of memory.", residents.bytes)
        yield GaugeMetricFamily("nearnorm_model_limit_bytes", "What they may take.", residents.most_bytes)
        yield CounterMetricFamily(
            "nearnorm_models_left", "Models that left memory as others were asked for.", residents.left
        )
        problems = GaugeMetricFamily(
            "nearnorm_problems",
            "What /readyz lists, but for novelty.",
            len(self._registry.problems(EVERY_LINE)),
        )
        activations = CounterMetricFamily(
            "nearnorm_activations", "Entries of the store's activation log.", labels=("model", "action")
        )
        failures = CounterMetricFamily(
            "nearnorm_background_failures", "Failures of background tasks.", labels=("task",)
        )
        for task, count in self._background.failures.copy().items():
            failures.add_metric((task,), count)
        for (label, action), count in self._activations_told().items():
            if self._lines.tells(label):
                activations.add_metric((label, action), count)
        for gauge in (created, worse, budget, promised, forecast, raised, exceeded, waiting, room):
            yield gauge.whole()
        yield from (problems, failures, activations)

    def _activations_told(self) -> Mapping[tuple[str, str], int]:
        """By label and action. What was told under a label once stays there: a count that fell, as a line got
        a label of its own, would look like many activations at once."""
        logged = self._registry.activations()
        for (name, action), count in logged.items():
            label, before = self._lines.label(name), self._activations[name, action]
            for known in ("activate", "rollback"):  # zeros too: an increase from nothing is not seen
                self._told[label, known] += 0
            self._told[label, action] += max(0, count - before)
        self._activations = Counter(logged)
        return self._told

    def _of_events(self) -> Iterator[Family]:
        yield GaugeMetricFamily(
            "nearnorm_events_waiting",
            "Kept events that are not in the ledger or its queue yet.",
            self._log.backlog,
        )
        yield GaugeMetricFamily(
            "nearnorm_events_waiting_limit", "Waiting events at which more are dropped.", QUEUE_ROWS
        )
        yield CounterMetricFamily("nearnorm_events_kept", "Events kept.", self._log.kept)
        dropped = CounterMetricFamily(
            "nearnorm_events_dropped", "Events that did not reach the ledger.", labels=("reason",)
        )
        for reason, count in self._log.drops.items():
            dropped.add_metric((reason,), count)
        evicted = CounterMetricFamily(
            "nearnorm_events_evicted",
            "Events deleted before their time, as the log was full: alerts without a verdict, and others.",
            labels=("kind",),
        )
        for kind, count in self._log.evicted.items():
            evicted.add_metric((kind,), count)
        held, most = self._log.held, self._log.bounds
        yield from (dropped, evicted)
        yield GaugeMetricFamily("nearnorm_event_log_rows", "Events in the ledger, last counted.", held.rows)
        yield GaugeMetricFamily("nearnorm_event_log_limit_rows", "Events that it may hold.", most.rows)
        yield GaugeMetricFamily("nearnorm_event_log_bytes", "About the bytes of these events.", held.bytes)
        yield GaugeMetricFamily("nearnorm_event_log_limit_bytes", "Bytes that it may hold.", most.bytes)

    def _of_labels(self) -> Iterator[Family]:
        standing = GaugeMetricFamily(
            "nearnorm_verdicts", "Records with a standing verdict.", labels=("model", "verdict")
        )
        doubted = GaugeMetricFamily(
            "nearnorm_labels_second_opinion",
            "Records whose label contradicts the model and waits for a second opinion.",
            labels=_MODEL,
        )
        unlearned = GaugeMetricFamily(
            "nearnorm_labels_waiting", "Records whose verdict no retraining has read.", labels=_MODEL
        )
        lag = GaugeMetricFamily(
            "nearnorm_label_lag_seconds",
            "Age of the oldest of these verdicts.",
            labels=_MODEL,
        )
        estimate = GaugeMetricFamily(
            "nearnorm_recall_ratio",
            "Estimated share of anomalies that are alerted on; low and high are its 95% interval.",
            labels=("model", "bound"),
        )
        needed = GaugeMetricFamily(
            "nearnorm_recall_labels_needed",
            "Random labels, and verdicts on alerts, until recall is estimated.",
            labels=_MODEL,
        )
        for model, figures in self._labels.items():
            for verdict, count in figures.verdicts.items():
                standing.add_metric((model, verdict), count)
            unlearned.add_metric((model,), figures.unlearned)
            doubted.add_metric((model,), figures.doubted)
            lag.add_metric((model,), time.time() - figures.oldest / 1000 if figures.oldest else 0.0)
            if figures.recall:
                needed.add_metric((model,), figures.recall.needs + figures.recall.needs_alerts)
                for bound in ("estimate", "low", "high") if figures.recall.shown else ():
                    estimate.add_metric((model, bound), getattr(figures.recall, bound))
        unfit = ByLine(
            self._lines,
            "nearnorm_labels_not_matched",
            "Records whose verdict does not act, as the serving version reads them otherwise.",
            together=operator.add,
        )
        for name, loaded in self._registry.loaded().items():
            unfit.add(name, self._known.of(name).unfit(loaded.manifest.core.features))
        yield from (standing, unlearned, doubted, lag, estimate, needed, unfit.whole())

    def _of_jobs(self) -> Iterator[Family]:
        states = GaugeMetricFamily("nearnorm_jobs", "Retraining jobs.", labels=("model", "state"))
        wait = GaugeMetricFamily(
            "nearnorm_job_wait_seconds", "For how long a due job has waited for a worker.", labels=_MODEL
        )
        for model, figures in self._labels.items():
            for state, count in figures.jobs.items():
                states.add_metric((model, state), count)
            wait.add_metric((model,), max(0.0, time.time() - figures.due / 1000) if figures.due else 0.0)
        if len(self._registry.lines()) > len(self._labels):
            for state in STATES:
                states.add_metric((OTHER, state), self._jobs_of_others.get(state, 0))
        yield from (states, wait)
        yield GaugeMetricFamily("nearnorm_workers", "Workers that greeted lately.", self._workers)
        yield GaugeMetricFamily(
            "nearnorm_backup_timestamp_seconds",
            "When the last backup that is whole was taken; 0: none.",
            self._backed_up / 1000,
        )

    def _of_webhooks(self) -> Iterator[Family]:
        messages = GaugeMetricFamily(
            "nearnorm_webhook_messages", "Messages that wait, and that were given up.", labels=("state",)
        )
        for state in MESSAGE_STATES:
            messages.add_metric((state,), self._messages.get(state, 0))
        yield messages
        yield CounterMetricFamily(
            "nearnorm_webhook_dropped", "Alerts and messages that outboxes had no room for.", self._dropped
        )

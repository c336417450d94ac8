"""Every metric's name, help and buckets. Plain numbers while serving, Prometheus's form when scraped."""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from nearnorm.service.metrics.busiest import OTHER, BusiestLines

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FINE_SECONDS = (0.00005, 0.0001, 0.00025, *SECONDS)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class BucketCounts:
    """Counts by bucket. Cheap enough for the hot path, and for one thread at a time."""

    __slots__ = ("_bounds", "_counts", "_edges", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._edges = np.array(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_many(self, value: float, count: int) -> None:
        """One value, so often."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def observe_all(self, values: Sequence[float]) -> None:
        counts, bounds = self._counts, self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def observe_array(self, values: NDArray[np.floating]) -> None:
        """The same, sooner from some thirty values on."""
        if len(values) < 32:
            self.observe_all(values.tolist())
            return
        places = np.searchsorted(self._edges, values)
        for place, count in enumerate(np.bincount(places).tolist()):
            self._counts[place] += count
        self._sum += float(values.sum(dtype=np.float64))

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        buckets, total = [], 0
        for bound, count in zip([*map(str, map(float, self._bounds)), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(labels, buckets, self._sum)


class Metrics(Collector):
    """What the service counts. `registry` takes other collectors too; `lines` are told of by their names."""

    def __init__(self, lines: BusiestLines | None = None) -> None:
        self.lines = lines or BusiestLines()
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        self._requests: dict[tuple[str, str, int], int] = {}
        self._request_seconds: dict[str, BucketCounts] = {}
        self._failed_loads: dict[str, int] = {}
        self._load_seconds = {source: BucketCounts(SECONDS) for source in ("here", "fetched")}
        self._connections: dict[str, int] = {}
        self._models: dict[str, ModelMeter] = {}
        self._rows: dict[str, LineRows] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        key = method, route, status
        try:
            self._requests[key] += 1
        except KeyError:
            self._requests[key] = 1
            self._request_seconds.setdefault(route, BucketCounts(SECONDS))
        self._request_seconds[route].observe(seconds)

    def refused_connection(self, reason: str) -> None:
        self._connections[reason] = self._connections.get(reason, 0) + 1

    def failed_load(self, model: str) -> None:
        label = self.lines.label(model)
        self._failed_loads[label] = self._failed_loads.get(label, 0) + 1

    def loaded(self, fetched: bool, seconds: float) -> None:
        """A model was loaded as it was asked for; `fetched`: from another machine."""
        self._load_seconds["fetched" if fetched else "here"].observe(seconds)

    def line(self, name: str) -> "LineRows":
        """A line's rows so far, whatever it is called on /metrics."""
        return self._rows.setdefault(name, LineRows())

    def rows(self) -> dict[str, int]:
        """How many rows each line has scored."""
        return {name: found.scored for name, found in self._rows.items()}

    def model(self, name: str) -> "ModelMeter":
        """Where a line's rows are counted now: by its name, or with those of all other lines."""
        return self._models.setdefault(self.lines.label(name), ModelMeter())

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        requests = CounterMetricFamily(
            "nearnorm_requests", "Requests answered.", labels=("method", "route", "status")
        )
        for (method, route, status), count in self._requests.items():
            requests.add_metric((method, route, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily(
            "nearnorm_request_seconds", "From a request's arrival to its answer.", labels=("route",)
        )
        for route, histogram in self._request_seconds.items():
            histogram.add_to(seconds, (route,))
        yield seconds
        refused = CounterMetricFamily(
            "nearnorm_connections_refused",
            "Connections closed over what was not read as a request, or not taken.",
            labels=("reason",),
        )
        for reason, count in self._connections.items():
            refused.add_metric((reason,), count)
        yield refused
        failed = CounterMetricFamily(
            "nearnorm_model_load_failures", "Versions that could not be loaded.", labels=("model",)
        )
        for name, count in self._failed_loads.items():
            if self.lines.tells(name):
                failed.add_metric((name,), count)
        yield failed
        loads = HistogramMetricFamily(
            "nearnorm_model_load_seconds",
            "Loading a model that was asked for and not in memory.",
            labels=("source",),
        )
        for source, histogram in self._load_seconds.items():
            histogram.add_to(loads, (source,))
        yield loads
        yield from self._of_models()

    def _of_models(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        label = ("model",)
        rows = CounterMetricFamily("nearnorm_rows", "Rows scored.", labels=label)
        errors = CounterMetricFamily("nearnorm_row_errors", "Rows with an error.", labels=label)
        anomalies = CounterMetricFamily("nearnorm_anomalies", "Rows judged anomalous.", labels=label)
        drifts = CounterMetricFamily("nearnorm_drift_reports", "Signals that began to drift.", labels=label)
        info = GaugeMetricFamily(
            "nearnorm_model_info", "1 for the version that serves.", labels=("model", "version", "provider")
        )
        batch = HistogramMetricFamily("nearnorm_batch_rows", "Rows of one model run.", labels=label)
        queue = HistogramMetricFamily("nearnorm_queue_seconds", "From admission to the batch.", labels=label)
        inference = HistogramMetricFamily("nearnorm_inference_seconds", "One model run.", labels=label)
        explain = HistogramMetricFamily(
            "nearnorm_explain_queue_seconds",
            "From scores to the search for reasons.",
            labels=label,
        )
        score = HistogramMetricFamily("nearnorm_score", "Scores of rows.", labels=label)
        for name, meter in self._models.items():
            if not self.lines.tells(name):
                continue
            rows.add_metric((name,), meter.rows)
            errors.add_metric((name,), meter.row_errors)
            anomalies.add_metric((name,), meter.anomalies)
            drifts.add_metric((name,), meter.drift_reports)
            if meter.serving and name != OTHER:
                info.add_metric((name, *meter.serving), 1)
            meter.batch_rows.add_to(batch, (name,))
            meter.queue_seconds.add_to(queue, (name,))
            meter.inference_seconds.add_to(inference, (name,))
            meter.explain_queue_seconds.add_to(explain, (name,))
            meter.scores.add_to(score, (name,))
        yield from (rows, errors, anomalies, drifts, info, batch, queue, inference, explain, score)


class LineRows(Struct, eq=False):
    """Rows of one line in this process, and of these those with an error."""

    scored: int = 0
    errors: int = 0


class ModelMeter:
    """One model's numbers. `serving` is (version, provider); `ran` may be called from several threads."""

    def __init__(self) -> None:
        self.serving: tuple[str, str] | None = None
        self.rows = 0
        self.row_errors = 0
        self.anomalies = 0
        self.drift_reports = 0
        self.batch_rows = BucketCounts(ROWS)
        self.queue_seconds = BucketCounts(FINE_SECONDS)
        self.inference_seconds = BucketCounts(FINE_SECONDS)
        self.explain_queue_seconds = BucketCounts(FINE_SECONDS)
        self.scores = BucketCounts(TENTHS)
        self._lock = threading.Lock()

    def ran(self, seconds: float, scores: NDArray[np.float32], anomalies: int) -> None:
        """One model run."""
        with self._lock:
            self.rows += len(scores)
            self.anomalies += anomalies
            self.batch_rows.observe(len(scores))
            self.inference_seconds.observe(seconds)
            self.scores.observe_array(scores)

"""Drift as Prometheus sees it: gauges over the long window, computed when scraped.

Shares are told once there are rows to be shares of. Of lines that are told of together it is told only
whether any of them drifts, or sees too much that is novel.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nearnorm.service.metrics.busiest import OTHER, BusiestLines
from nearnorm.service.serving.registry import Registry

SIGNAL = ("model", "kind", "signal")
ANY = "any"


class DriftCollector(Collector):
    """The drift of every model that serves."""

    def __init__(self, registry: Registry, lines: BusiestLines) -> None:
        self._registry = registry
        self._lines = lines

    def collect(self) -> Iterator[GaugeMetricFamily]:
        psi = GaugeMetricFamily(
            "nearnorm_drift_psi", "Population stability index, less its mean under chance.", labels=SIGNAL
        )
        drifting = GaugeMetricFamily("nearnorm_drifting", "1 while a signal drifts.", labels=SIGNAL)
        missing = GaugeMetricFamily(
            "nearnorm_feature_missing_ratio",
            "Share of rows without the feature.",
            labels=("model", "feature"),
        )
        unknown = GaugeMetricFamily(
            "nearnorm_feature_unknown_ratio",
            "Rows with a category that training never saw.",
            labels=("model", "feature"),
        )
        groups = GaugeMetricFamily(
            "nearnorm_prototype_ratio",
            "Rows whose nearest prototype this is.",
            labels=("model", "prototype"),
        )
        far = GaugeMetricFamily(
            "nearnorm_far_ratio",
            "Rows far from every prototype; 0.01 in training.",
            labels=("model",),
        )
        candidates = GaugeMetricFamily(
            "nearnorm_candidate_groups", "Dense regions far from every prototype.", labels=("model",)
        )
        novel = GaugeMetricFamily(
            "nearnorm_novel_ratio",
            "Recent rows with a value that training never saw.",
            labels=("model", "signal"),
        )
        ceased = GaugeMetricFamily(
            "nearnorm_novelty_ceased",
            "1 while too much is novel to alert.",
            labels=("model", "signal"),
        )
        window = GaugeMetricFamily(
            "nearnorm_drift_window_rows", "Rows that the drift gauges cover.", labels=("model",)
        )
        others = [model for name, model in self._registry.loaded().items() if not self._lines.has(name)]
        if others:
            drifting.add_metric((OTHER, ANY, ANY), float(any(one.drift.drifts for one in others)))
            ceased.add_metric((OTHER, ANY), float(any(one.novelty_watch.ceased for one in others)))
        for model, loaded in self._registry.loaded().items():
            if not self._lines.has(model):
                continue
            drift = loaded.drift
            for state in drift.states():
                signal = state.signal
                labels = (model, signal.kind, signal.name)
                psi.add_metric(labels, state.psi)
                drifting.add_metric(labels, float(state.drifted_since is not None))
                if not drift.window:  # a share of no rows is not 0
                    continue
                if state.missing is not None:
                    missing.add_metric((model, signal.name), state.missing)
                if state.unknown is not None:
                    unknown.add_metric((model, signal.name), state.unknown)
                if signal.kind == "prototype":
                    for prototype, share in enumerate(state.shares):
                        groups.add_metric((model, str(prototype)), share)
                if signal.kind == "distance":
                    far.add_metric((model,), state.shares[1])
            for found in loaded.novelty_watch.states():
                labels_ = (model, loaded.novelty.name(found.signal))
                novel.add_metric(labels_, found.rows / found.window)
                ceased.add_metric(labels_, float(found.ceased_since is not None))
            candidates.add_metric((model,), drift.candidates)
            window.add_metric((model,), drift.window)
        yield from (psi, drifting, missing, unknown, groups, far, novel, ceased, candidates, window)

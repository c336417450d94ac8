"""Metrics as far as somebody is told: those of the models that he sees, and of the service if he sees all."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nearnorm.service.ledger.seen_lines import SeenLines


class OfLines(Collector):
    """`of_service`: what is no model's is told too, whichever are seen."""

    def __init__(self, registry: Collector, lines: SeenLines, of_service: bool) -> None:
        self._registry = registry
        self._lines = lines
        self._of_service = of_service or lines.is_every

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            if self._lines.is_every:
                yield family
                continue
            told = Metric(family.name, family.documentation, family.type)
            told.samples = [sample for sample in family.samples if self._is_told(sample.labels)]
            if told.samples:
                yield told

    def _is_told(self, labels: dict[str, str]) -> bool:
        return self._lines.sees(labels["model"]) if "model" in labels else self._of_service

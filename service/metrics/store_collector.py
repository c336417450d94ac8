"""What the last check of the model store found, as Prometheus sees it."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nearnorm.service.upkeep.check import StoreWatch


class StoreCollector(Collector):
    def __init__(self, watch: StoreWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[GaugeMetricFamily]:
        last = self._watch.last
        yield GaugeMetricFamily(
            "nearnorm_store_damaged_versions",
            "Versions that the last check of the store found damaged or missing.",
            len(last.problems) if last else 0,
        )
        yield GaugeMetricFamily(
            "nearnorm_store_checked_timestamp_seconds",
            "When the store was last checked; 0: not yet.",
            last.ended / 1000 if last else 0,
        )

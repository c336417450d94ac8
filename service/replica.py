"""One replica: models, ledger and metrics, behind whichever door records come by. What starts before what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.metrics.busiest import BusiestLines
from nearnorm.service.metrics.collectors import Figures
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.metrics.drift_collector import DriftCollector
from nearnorm.service.metrics.store_collector import StoreCollector
from nearnorm.service.scoring.explain import told_reasons
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.services import Services
from nearnorm.service.serving.registry import Registry
from nearnorm.service.settings import Settings


class Replica:
    """What scores, and what it shares with the doors before it."""

    def __init__(self, settings: Settings, lines: BusiestLines | None = None) -> None:
        """`lines` are told of by their names: other processes may share them.

        Raises ConfigError for a setting that cannot be used."""
        self.metrics = Metrics(lines)
        self.services = Services(settings)
        self.registry = Registry(
            settings.open_store(),
            settings,
            self.metrics,
            self.services.background,
            self.services.follower.prepare,
        )
        self.figures = Figures(
            self.registry,
            self.metrics.lines,
            self.services.log,
            self.services.policies,
            self.services.background,
            self.services.verdicts,
        )
        for collector in (
            DriftCollector(self.registry, self.metrics.lines),
            self.figures,
            StoreCollector(self.services.store_watch),
        ):
            self.metrics.registry.register(collector)
        self.memory = Memory(self.services.log, self.services.policies, self.services.verdicts)

    @asynccontextmanager
    async def running(self, is_listening: bool) -> AsyncIterator[None]:
        """Up to date with ledger and store, and following both. `is_listening`: others may send records here,
        so that the door has to be shut or watched.

        Raises NearnormError when it must not start.
        """
        services, registry = self.services, self.registry
        async with AsyncExitStack() as opened:
            opened.push_async_callback(asyncio.to_thread, services.close)
            await asyncio.to_thread(
                services.start, registry.loaded, self.figures, registry.activation_log, is_listening
            )
            opened.push_async_callback(registry.close)
            await registry.start()
            services.store_watch.start(registry.store)
            services.start_webhooks(
                registry,
                told_reasons(asyncio.get_running_loop(), lambda name: registry.bring(name, EVERY_LINE)),
            )
            yield

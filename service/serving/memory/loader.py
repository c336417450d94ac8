"""Models on their way into memory: prepared beside the event loop, then put where requests find them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.verified import VerifiedVersions
from nearnorm.service.inference.engine import cpus
from nearnorm.service.logs import log
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.serving.batcher import Limits
from nearnorm.service.serving.behind_loop import go_behind
from nearnorm.service.serving.lanes import Lanes
from nearnorm.service.serving.memory.load import load_model
from nearnorm.service.serving.memory.malloc import trim_heap
from nearnorm.service.serving.memory.residents import Residents
from nearnorm.service.serving.memory.settled import Settled
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.settings import Settings

TRIM_SECONDS = 2.0
"""After a swap, when nobody holds the model before it any more, or when loading has come to rest, what is
free goes back to the system."""
BATCH_ROWS = 1024
INLINE_ROWS = 512
OFF_LOOP = max(1, min(4, cpus() - 1))
"""Batches that run beside the event loop at once: a CPU is its own."""


class Loader:
    """Gives models the threads they answer in, and `residents` a place."""

    def __init__(
        self,
        store: ModelStore,
        settings: Settings,
        metrics: Metrics,
        lanes: Lanes,
        settled: Settled,
        finish: Callable[[LoadedModel], None],
    ) -> None:
        """Raises ConfigError for a trusted key that cannot be read."""
        self._versions = VerifiedVersions(store)
        self._settings = settings
        self._metrics = metrics
        self._lanes, self._settled = lanes, settled
        self._finish = finish
        self._trusted = settings.read_trusted_keys()
        self._limits = Limits(
            BATCH_ROWS, INLINE_ROWS, settings.queue_rows, settings.deadline_seconds, OFF_LOOP
        )
        self._executor = ThreadPoolExecutor(OFF_LOOP, "model", go_behind)
        self._explaining = ThreadPoolExecutor(1, "explain", go_behind)
        self.residents = Residents(settings.model_bytes)
        self._trim: asyncio.TimerHandle | None = None

    def close(self) -> None:
        for executor in (self._executor, self._explaining):
            executor.shutdown()

    def prepare(self, name: str, version: str) -> LoadedModel:
        """A stored version that may serve here, in a thread. Raises NearnormError, once it is told."""
        self.residents.free()
        self._settled.sweep()
        try:
            return load_model(self._versions.open, name, version, self._settings, self._trusted, self._finish)
        except NearnormError as error:
            self._metrics.failed_load(name)
            cause = error.__cause__  # of what nobody foresaw
            log.error("model not loaded", model=name, version=version, problem=str(error), exc_info=cause)
            raise
        finally:
            self._settled.settle()

    def put(self, name: str, model: LoadedModel) -> None:
        """It answers a line's requests from now on; in the event loop."""
        model.serve(self._metrics, self._limits, self._lanes, self._executor, self._explaining)
        self.residents.put(name, model)
        loop = asyncio.get_running_loop()
        if self._trim is not None:
            self._trim.cancel()
        self._trim = loop.call_later(TRIM_SECONDS, loop.run_in_executor, None, self._rest)

    def _rest(self) -> None:
        self.residents.free()
        trim_heap()

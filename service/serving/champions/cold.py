"""Champions that are not in memory: loaded when they are asked for, once however many ask."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.errors import UnknownModel
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.serving.champions.champions import Champions
from nearnorm.service.serving.champions.failures import Failures
from nearnorm.service.serving.memory.loader import Loader
from nearnorm.service.serving.model import LoadedModel


class ColdModels:
    """In the event loop, while they load beside it."""

    def __init__(
        self,
        store: ModelStore,
        metrics: Metrics,
        loader: Loader,
        champions: Champions,
        failures: Failures,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._loader = loader
        self._models: Mapping[str, LoadedModel] = loader.residents.models
        self._champions = champions
        self._failures = failures
        self._executor = ThreadPoolExecutor(1, "load")  # two would take the CPU from one another
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}

    async def close(self) -> None:
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        self._executor.shutdown()

    def loading(self, name: str) -> "asyncio.Task[LoadedModel]":
        """A line's champion, on its way into memory from now on. It raises NoModel, UnknownModel."""
        if (begun := self._loading.get(name)) is not None:
            return begun
        loading = self._loading[name] = asyncio.create_task(self._load(name))

        def ended(task: "asyncio.Task[LoadedModel]") -> None:
            del self._loading[name]
            if not task.cancelled():
                task.exception()  # told to who waits, if anybody still does

        loading.add_done_callback(ended)
        return loading

    async def _load(self, name: str) -> LoadedModel:
        loop = asyncio.get_running_loop()
        while (champion := self._champions.by_line.get(name)) is not None:
            version, started = champion.version, time.perf_counter()
            try:
                fetched = await asyncio.to_thread(self._store.fetch, version)
                model = await loop.run_in_executor(self._executor, self._loader.prepare, name, version)
            except NearnormError as error:
                raise self._failures.note(champion, error).error() from None
            current = self._models.get(name)
            if current is None and self._champions.version(name) == version:
                self._metrics.loaded(fetched, time.perf_counter() - started)
                self._loader.put(name, model)
                self._failures.forget(name)
                return model
            if current is not None:  # it was activated meanwhile
                return current
        raise UnknownModel(f"model {name!r} is no more: the store has another log than before", field="model")

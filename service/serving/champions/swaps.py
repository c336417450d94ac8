"""Swaps: each line follows the store's activation log: prepare, check, warm up, swap, drain.

A version that cannot serve, whatever the reason, changes nothing: the one before it goes on, and it is tried
again.
Requests hold on to the model they began with, so a swap needs no pause: the old one answers whoever
it accepted and is dropped with the last of them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import DEFAULT_MODEL, Activation, ModelStore
from nearnorm.service.background import Background
from nearnorm.service.logs import log
from nearnorm.service.metrics.busiest import LOOK_SECONDS
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.serving.champions.champions import Champions
from nearnorm.service.serving.champions.failures import Failures
from nearnorm.service.serving.champions.starter import NONE_ACTIVE, put_starter
from nearnorm.service.serving.memory.loader import Loader
from nearnorm.service.serving.model import LoadedModel

POLL_SECONDS = 1.0
FOLLOWING = "following the model store"
AT_START = 16
"""Models that are loaded before the service is ready: `default`, and those that were activated last. Others
are loaded when they are asked for."""

Note = Callable[[str], Awaitable[object]]
"""Writes down what is about to happen to a version."""


class Swaps:
    """In the event loop alone, one at a time."""

    def __init__(
        self,
        store: ModelStore,
        metrics: Metrics,
        background: Background,
        loader: Loader,
        champions: Champions,
        failures: Failures,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._background = background
        self._loader = loader
        self._models: Mapping[str, LoadedModel] = loader.residents.models
        self._champions = champions
        self._failures = failures
        self._swap = asyncio.Lock()
        self.store_problem: str | None = None
        """Why the log cannot be read."""
        self.none_active = NONE_ACTIVE
        """What to tell where no line has a champion."""
        self._following: asyncio.Task[None] | None = None
        self._told_at = time.monotonic()

    async def start(self) -> None:
        """Load the champions, the starter model into an empty store first."""
        self.none_active = await asyncio.to_thread(put_starter, self._store)
        await self._catch_up_safely(at_start=True)

    def follow(self) -> None:
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def activate(
        self,
        version: str,
        by: str,
        name: str = DEFAULT_MODEL,
        note: Note | None = None,
        reason: str | None = None,
    ) -> Activation:
        """Make a version the champion, once it has shown that it can serve here.

        `note` hears of it before it happens. Raises StoreError or BundleError, and what `note` raises: then
        nothing has changed.
        """
        async with self._swap:
            model = await asyncio.to_thread(self._loader.prepare, name, version)
            if note is not None:
                await note(version)
            activation = await asyncio.to_thread(self._store.activate, version, by, name, reason)
            self._champions.by_line[name] = activation
            self._metrics.lines.admit([name])
            self._swap_in(name, model)
        return activation

    async def rollback(
        self, by: str, name: str = DEFAULT_MODEL, note: Note | None = None, reason: str | None = None
    ) -> Activation:
        """Put the champion before this one back, once it has shown that it can serve here.

        `note` hears of it before it happens. Raises StoreError (there is none, too) or BundleError, and what
        `note` raises: then nothing has changed.
        """
        async with self._swap:
            version = await asyncio.to_thread(self._store.previous, name)
            model = self._models.get(name)
            if model is None or model.ref.version != version:  # else it never ceased to serve
                model = await asyncio.to_thread(self._loader.prepare, name, version)
            if note is not None:
                await note(version)
            activation = await asyncio.to_thread(self._store.rollback, by, name, version, reason)
            self._champions.by_line[name] = activation
            if self._models.get(name) is not model:
                self._swap_in(name, model)
            self._failures.forget(name)
        return activation

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._catch_up_safely()

    async def _catch_up_safely(self, at_start: bool = False) -> None:
        try:
            await self._catch_up(at_start)
        except Exception as error:  # following goes on, whatever it was
            self._background.failed(FOLLOWING, error)
        else:
            self._background.works(FOLLOWING)
        self._loader.residents.make_room()
        self._tell_the_busiest()

    def _tell_the_busiest(self) -> None:
        """See to it that metrics are by the names of the busiest lines."""
        if time.monotonic() - self._told_at < LOOK_SECONDS:
            return
        self._told_at = time.monotonic()
        if self._metrics.lines.look(self._metrics.rows(), always=DEFAULT_MODEL):
            for name, model in self._models.items():
                model.measure(self._metrics.model(name))

    async def _catch_up(self, at_start: bool) -> None:
        async with self._swap:
            try:
                activations = await asyncio.to_thread(self._store.activations)
            except (NearnormError, OSError) as error:
                self.store_problem = str(error)
                return
            self.store_problem = None
            before = self._champions.read(activations)
            self._metrics.lines.admit([DEFAULT_MODEL, *self._champions.by_line])
            for name in self._due(before, at_start):
                await self._load(self._champions.by_line[name])

    def _due(self, before: Mapping[str, Activation], at_start: bool) -> list[str]:
        """The lines to load now: with the first look at the log some. From then on those that have another
        champion than before, so that one which cannot serve is told at once; and what failed, one at a time.
        """
        champions = self._champions.by_line
        if at_start or not before:
            newest = sorted(champions, key=lambda name: (name != DEFAULT_MODEL, -champions[name].number))
            return newest[:AT_START]
        changed = [name for name, entry in champions.items() if before.get(name) != entry]
        return list(dict.fromkeys([*changed, *islice(self._failures.due(champions), 1)]))

    async def _load(self, activation: Activation) -> None:
        name, version = activation.model, activation.version
        current = self._models.get(name)
        if current is not None and current.ref.version == version:
            self._failures.forget(name)
            return
        try:
            model = await asyncio.to_thread(self._loader.prepare, name, version)
        except NearnormError as error:
            self._failures.note(activation, error)
            return
        self._swap_in(name, model)

    def _swap_in(self, name: str, model: LoadedModel) -> None:
        log.info("model loaded", model=name, version=model.ref.version, provider=model.engine.provider)
        self._loader.put(name, model)
        self._failures.forget(name)

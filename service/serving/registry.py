"""The registry: which model versions are in memory.

Each name follows the store's activation log: prepare, check, warm up, swap, drain.
A version that cannot serve, whatever the reason, changes nothing: the one before it goes on, /readyz says
why, and it is tried again.
Requests hold on to the model they began with, so a swap needs no pause: the old one answers whoever
it accepted and is dropped with the last of them.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

from msgspec import Struct

from nearnorm.models.bundle.bundle import MANIFEST
from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import DEFAULT_MODEL, Activation, ModelStore
from nearnorm.service.background import Background
from nearnorm.service.errors import MOST_REPEATED, NoModel, UnknownModel
from nearnorm.service.inference.engine import cpus
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.logs import log
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.serving.batcher import Limits
from nearnorm.service.serving.load import load_model
from nearnorm.service.serving.malloc import trim_heap
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.settings import Settings

POLL_SECONDS = 1.0
RETRY_SECONDS = 30.0
"""A version that could not be loaded is tried again: its files may have been on their way."""
FOLLOWING = "following the model store"
TRIM_SECONDS = 2.0
"""After a swap, when nobody holds the model before it any more, its memory goes back to the system."""
BATCH_ROWS = 1024
INLINE_ROWS = 512
OFF_LOOP = max(1, min(4, cpus() - 1))
"""Batches that run beside the event loop at once: a CPU is its own."""


Note = Callable[[str], Awaitable[object]]
"""Writes down what is about to happen to a version."""


_NONE_SEEN = "no model is loaded that this API key is bound to"


def _default_first(named: tuple[str, LoadedModel]) -> bool:
    return named[0] != DEFAULT_MODEL


class _Failure(Struct, frozen=True):
    activation: Activation
    at: float
    message: str


class Registry:
    """The loaded models by name, kept as the store's activation log says."""

    def __init__(
        self,
        store: ModelStore,
        settings: Settings,
        metrics: Metrics,
        background: Background,
        prepare: Callable[[LoadedModel], None],
    ) -> None:
        """`prepare` gives a loaded model what else it needs before it serves; it runs in a thread.

        Raises ConfigError for a trusted key that cannot be read.
        """
        self.store = store
        self._settings = settings
        self._metrics = metrics
        self._background = background
        self._finish = prepare
        self._trusted = settings.read_trusted_keys()
        self._limits = Limits(
            BATCH_ROWS, INLINE_ROWS, settings.queue_rows, settings.deadline_seconds, OFF_LOOP
        )
        self._executor = ThreadPoolExecutor(OFF_LOOP, "model")
        self._explaining = ThreadPoolExecutor(1, "explain")
        self._models: dict[str, LoadedModel] = {}
        self._failures: dict[str, _Failure] = {}
        self._activations: Counter[tuple[str, str]] = Counter()
        self._activation_log: Sequence[Activation] = ()
        self._swap = asyncio.Lock()
        self._store_problem: str | None = None
        self._no_starter = "no model is active: run `nearnorm models import` and `nearnorm models activate`"
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the champions, the starter model into an empty store first, and follow the log.

        Raises what went wrong where NEARNORM_DEVICE=cuda makes a promise that cannot be kept.
        """
        await asyncio.to_thread(self._put_starter)
        await self._catch_up_safely()
        if self._settings.device == "cuda" and self._failures:
            raise NearnormError(next(iter(self._failures.values())).message)
        self._follower = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        self._executor.shutdown()
        self._explaining.shutdown()

    def first(self, lines: SeenLines) -> LoadedModel:
        """By whose schema a body is read before it says which model it means: the default one, if it is there
        and seen.

        Raises NoModel when nothing is loaded, UnknownModel where nothing of it is seen.
        """
        model = self._models.get(DEFAULT_MODEL)
        if model is not None and lines.is_every:
            return model
        model = next(
            (one for name, one in sorted(self._models.items(), key=_default_first) if lines.sees(name)), None
        )
        if model is not None:
            return model
        if self._models or not lines.is_every:
            raise UnknownModel(_NONE_SEEN, field="model")
        raise NoModel(self.problems(lines)[0], headers={"Retry-After": "5"})

    def get(self, name: str, lines: SeenLines, version: str | None = None) -> LoadedModel:
        """The model of a line that the caller sees.

        Raises UnknownModel, also where another version than this one serves; NoModel as `first`.
        """
        model = self._models.get(name) if lines.sees(name) else None
        if model is None:
            seen = {self.first(lines).ref.name, *filter(lines.sees, self._models)}
            known = ", ".join(sorted(seen))
            raise UnknownModel(f"no model is named {name[:MOST_REPEATED]!r}: there is {known}", field="model")
        if version is not None and version != model.ref.version:
            raise UnknownModel(
                f"version {version[:MOST_REPEATED]!r} of {name!r} is not in memory, where "
                f"{model.ref.version} serves: leave the version out, or activate that one",
                field="version",
            )
        return model

    def versions_of(self, name: str) -> frozenset[str]:
        """The versions that a line was ever served by, as the log was last read, and by the one in memory."""
        served = {entry.version for entry in self._activation_log if entry.model == name}
        model = self._models.get(name)
        return frozenset(served | {model.ref.version} if model else served)

    @property
    def is_full(self) -> bool:
        """Whether no model takes requests now: their queues are full."""
        for model in self._models.values():  # on every request's way: half the time of all()
            if not model.batcher.overflown or not model.batcher.is_full:
                return False
        return bool(self._models)

    def is_full_for(self, caller: str) -> bool:
        """Whether no model takes a request of this caller now: he has his part of their full queues."""
        return self.is_full and all(model.batcher.is_full_for(caller) for model in self._models.values())

    @property
    def capacity(self) -> int:
        """How many more requests fit into a queue, at least; as many as come where there is no model."""
        return max((model.batcher.capacity for model in self._models.values()), default=sys.maxsize)

    def loaded(self) -> dict[str, LoadedModel]:
        return dict(self._models)

    def activations(self) -> Mapping[tuple[str, str], int]:
        """How often each model was activated or rolled back, as the log says."""
        return self._activations

    def activation_log(self) -> Sequence[Activation]:
        """The store's log as it was last read, oldest first."""
        return self._activation_log

    def problems(self, lines: SeenLines) -> list[str]:
        """Why the service is not ready, does not serve what the log says, or fails beside the requests.

        Of what is no line's those are told who see all. Empty: all is well."""
        found = [failure.message for name, failure in self._failures.items() if lines.sees(name)]
        if not lines.is_every:
            return found
        found += self._background.problems()
        if self._store_problem:
            found.append(self._store_problem)
        if not self._models and not found:
            found.append(self._no_starter)
        return found

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
            model = await asyncio.to_thread(self._prepare, name, version)
            if note is not None:
                await note(version)
            activation = await asyncio.to_thread(self.store.activate, version, by, name, reason)
            self._put(name, model)
        return activation

    async def rollback(
        self, by: str, name: str = DEFAULT_MODEL, note: Note | None = None, reason: str | None = None
    ) -> Activation:
        """Put the champion before this one back, once it has shown that it can serve here.

        `note` hears of it before it happens. Raises StoreError (there is none, too) or BundleError, and what
        `note` raises: then nothing has changed.
        """
        async with self._swap:
            version = await asyncio.to_thread(self.store.previous, name)
            model = self._models.get(name)
            if model is None or model.ref.version != version:  # else it never ceased to serve
                model = await asyncio.to_thread(self._prepare, name, version)
            if note is not None:
                await note(version)
            activation = await asyncio.to_thread(self.store.rollback, by, name, version, reason)
            if self._models.get(name) is not model:
                self._put(name, model)
            self._failures.pop(name, None)
        return activation

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._catch_up_safely()

    async def _catch_up_safely(self) -> None:
        try:
            await self._catch_up()
        except Exception as error:  # following goes on, whatever it was
            self._background.failed(FOLLOWING, error)
        else:
            self._background.works(FOLLOWING)

    async def _catch_up(self) -> None:
        async with self._swap:
            try:
                activations = await asyncio.to_thread(self.store.activations)
            except (NearnormError, OSError) as error:
                self._store_problem = str(error)
                return
            self._store_problem = None
            self._activation_log = activations
            self._activations = Counter((entry.model, entry.action) for entry in activations)
            for activation in {entry.model: entry for entry in activations}.values():
                await self._load(activation)

    async def _load(self, activation: Activation) -> None:
        name, version = activation.model, activation.version
        current = self._models.get(name)
        if current is not None and current.ref.version == version:
            self._failures.pop(name, None)
            return
        failure = self._failures.get(name)
        if failure and failure.activation == activation and time.monotonic() - failure.at < RETRY_SECONDS:
            return
        try:
            model = await asyncio.to_thread(self._prepare, name, version)
        except NearnormError as error:
            self._failures[name] = _Failure(activation, time.monotonic(), str(error))
            return
        self._put(name, model)

    def _prepare(self, name: str, version: str) -> LoadedModel:
        try:
            return load_model(self.store, name, version, self._settings, self._trusted, self._finish)
        except NearnormError as error:
            self._metrics.failed_load(name)
            cause = error.__cause__  # of what nobody foresaw
            log.error("model not loaded", model=name, version=version, problem=str(error), exc_info=cause)
            raise

    def _put(self, name: str, model: LoadedModel) -> None:
        model.serve(self._metrics.model(name), self._limits, self._executor, self._explaining)
        self._models[name] = model
        self._failures.pop(name, None)
        loop = asyncio.get_running_loop()
        loop.call_later(TRIM_SECONDS, loop.run_in_executor, None, trim_heap)
        log.info("model loaded", model=name, version=model.ref.version, provider=model.engine.provider)

    def _put_starter(self) -> None:
        """An empty store gets the model that the package brings along."""
        try:
            if self.store.activations() or self.store.versions():
                return
            starter = resources.files("nearnorm.models") / "starter"
            if not (starter / MANIFEST).is_file():
                return
            with resources.as_file(starter) as folder:
                version = self.store.publish(Path(folder))
            self.store.activate(version, by="starter")
        except Exception as error:  # the service starts without it, and says why there is no model
            log.error("the starter model was not stored", exc_info=error)
            self._no_starter = str(error)

"""The registry: which model versions serve, and which of them are in memory.

Each name follows the store's activation log: prepare, check, warm up, swap, drain. There may be more of them
than memory holds: who is not in memory is loaded when it is asked for, once however many ask, and never in
the event loop.
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
from contextlib import suppress
from importlib import resources
from pathlib import Path

from msgspec import Struct

from nearnorm.models.bundle.bundle import MANIFEST
from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import DEFAULT_MODEL, Activation, ModelStore
from nearnorm.models.store.verified import VerifiedVersions
from nearnorm.service.background import Background
from nearnorm.service.errors import MOST_REPEATED, ColdModel, DeadlineExceeded, NoModel, UnknownModel
from nearnorm.service.inference.engine import cpus
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.logs import log
from nearnorm.service.metrics.busiest import LOOK_SECONDS
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.serving.batcher import Limits
from nearnorm.service.serving.load import load_model
from nearnorm.service.serving.malloc import trim_heap
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.residents import Residents
from nearnorm.service.settings import Settings

POLL_SECONDS = 1.0
RETRY_SECONDS = 30.0
"""A version that could not be loaded is tried again: its files may have been on their way."""
FOLLOWING = "following the model store"
AT_START = 16
"""Models that are loaded before the service is ready: `default`, and those that were activated last. Others
are loaded when they are asked for."""
MOST_NAMED = 20
"""Models that an error names."""
TRIM_SECONDS = 2.0
"""After a swap, when nobody holds the model before it any more, or when loading has come to rest, what is
free goes back to the system."""
BATCH_ROWS = 1024
INLINE_ROWS = 512
OFF_LOOP = max(1, min(4, cpus() - 1))
"""Batches that run beside the event loop at once: a CPU is its own."""


Note = Callable[[str], Awaitable[object]]
"""Writes down what is about to happen to a version."""


_NONE_SEEN = "no model is loaded that this API key is bound to"


def _cannot_be_loaded(failure: "_Failure") -> NoModel:
    name = failure.activation.model
    return NoModel(
        f"model {name!r} cannot be loaded: {failure.message}; activate another version of it",
        headers={"Retry-After": f"{RETRY_SECONDS:.0f}"},
    )


def _other_version(name: str, version: str, serving: str) -> UnknownModel:
    return UnknownModel(
        f"version {version[:MOST_REPEATED]!r} of {name!r} is not in memory, where "
        f"{serving} serves: leave the version out, or activate that one",
        field="version",
    )


class _Failure(Struct, frozen=True):
    activation: Activation
    at: float
    message: str


class Registry:
    """The models by name, kept as the store's activation log says."""

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
        self._versions = VerifiedVersions(store)
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
        self._loader = ThreadPoolExecutor(1, "load")  # one at a time: two would take the CPU from one another
        self.residents = Residents(settings.model_bytes)
        self._models = self.residents.models
        self._champions: dict[str, Activation] = {}
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        self._failures: dict[str, _Failure] = {}
        self._activations: Counter[tuple[str, str]] = Counter()
        self._activation_log: Sequence[Activation] = ()
        self._swap = asyncio.Lock()
        self._store_problem: str | None = None
        self._no_starter = "no model is active: run `nearnorm models import` and `nearnorm models activate`"
        self._follower: asyncio.Task[None] | None = None
        self._trim: asyncio.TimerHandle | None = None
        self._told_at = time.monotonic()

    async def start(self) -> None:
        """Load the champions, the starter model into an empty store first, and follow the log.

        Raises what went wrong where NEARNORM_DEVICE=cuda makes a promise that cannot be kept.
        """
        await asyncio.to_thread(self._put_starter)
        await self._catch_up_safely(at_start=True)
        if self._settings.device == "cuda" and self._failures:
            raise NearnormError(next(iter(self._failures.values())).message)
        self._follower = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        for executor in (self._executor, self._explaining, self._loader):
            executor.shutdown()

    def first(self, lines: SeenLines) -> LoadedModel:
        """By whose schema a body is read before it says which model it means: the default one, if it is there
        and seen, else any.

        Raises NoModel when nothing serves, UnknownModel where nothing of it is seen, ColdModel where nothing
        seen is in memory.
        """
        model = self._models.get(DEFAULT_MODEL)
        if model is not None and (lines.is_every or lines.sees(DEFAULT_MODEL)):
            return model
        model = next((one for name, one in self._models.items() if lines.sees(name)), None)
        if model is not None:
            model.used_at = time.monotonic()
            return model
        failure = None
        for name in filter(lines.sees, self._champions):
            failure = self._standing_failure(name)
            if failure is None:
                raise ColdModel(name)
        if failure is not None:
            raise _cannot_be_loaded(failure)
        if self._champions or not lines.is_every:
            raise UnknownModel(_NONE_SEEN, field="model")
        raise NoModel(self.problems(lines)[0], headers={"Retry-After": "5"})

    def get(self, name: str, lines: SeenLines, version: str | None = None) -> LoadedModel:
        """The model of a line that the caller sees.

        Raises UnknownModel, also where another version than this one serves; NoModel as `first`, and where
        the line's version cannot be loaded; ColdModel where it is not in memory.
        """
        model = self._models.get(name) if lines.sees(name) else None
        if model is None:
            self.check(name, lines, version)
            failure = self._standing_failure(name)
            raise ColdModel(name) if failure is None else _cannot_be_loaded(failure)
        model.used_at = time.monotonic()
        if version is not None and version != model.ref.version:
            raise _other_version(name, version, model.ref.version)
        return model

    def check(self, name: str, lines: SeenLines, version: str | None = None) -> None:
        """Raises as `get` for a line that the caller does not see, or that another version serves."""
        model = self._models.get(name)
        serving = model.ref.version if model else self._champion_version(name)
        if serving is None or not lines.sees(name):
            known = sorted(filter(lines.sees, self.lines()))
            if not known:
                self.first(lines)  # raises: nothing serves that is seen
            spoken = ", ".join(known[:MOST_NAMED])
            more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
            raise UnknownModel(
                f"no model is named {name[:MOST_REPEATED]!r}: there is {spoken}{more}", field="model"
            )
        if version is not None and version != serving:
            raise _other_version(name, version, serving)

    def check_serves(self, name: str, lines: SeenLines, version: str | None = None) -> None:
        """Raises as `get`, but for ColdModel."""
        with suppress(ColdModel):
            self.get(name, lines, version)

    async def bring(self, name: str, lines: SeenLines, version: str | None = None) -> LoadedModel:
        """`get`, and where the model is not in memory, once it is loaded.

        Raises as `get`, but for ColdModel; DeadlineExceeded.
        """
        with suppress(ColdModel):
            return self.get(name, lines, version)
        loading = self._loading.get(name) or self._begin_to_load(name)
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                return await asyncio.shield(loading)
        except TimeoutError:
            raise DeadlineExceeded(
                f"model {name!r} was not loaded in time: try again", headers={"Retry-After": "1"}
            ) from None

    async def bring_first(self, lines: SeenLines) -> LoadedModel:
        """`first`, and where none that is seen is in memory, once one is loaded. Raises as `first` and
        `bring`."""
        try:
            return self.first(lines)
        except ColdModel as cold:
            return await self.bring(cold.model, lines)

    def _begin_to_load(self, name: str) -> "asyncio.Task[LoadedModel]":
        loading = self._loading[name] = asyncio.create_task(self._load_cold(name))

        def ended(task: "asyncio.Task[LoadedModel]") -> None:
            del self._loading[name]
            if not task.cancelled():
                task.exception()  # told to who waits, if anybody still does

        loading.add_done_callback(ended)
        return loading

    async def _load_cold(self, name: str) -> LoadedModel:
        """Raises NoModel."""
        loop = asyncio.get_running_loop()
        while (champion := self._champions.get(name)) is not None:
            version, started = champion.version, time.perf_counter()
            try:
                fetched = await asyncio.to_thread(self.store.fetch, version)
                model = await loop.run_in_executor(self._loader, self._prepare, name, version)
            except NearnormError as error:
                raise _cannot_be_loaded(self._note_failure(champion, error)) from None
            current = self._models.get(name)
            if current is None and self._champion_version(name) == version:
                self._metrics.loaded(fetched, time.perf_counter() - started)
                self._put(name, model)
                return model
            if current is not None:  # it was activated meanwhile
                return current
        raise UnknownModel(f"model {name!r} is no more: the store has another log than before", field="model")

    def lines(self) -> set[str]:
        """Whoever serves, in memory or not."""
        return self._champions.keys() | self._models.keys()

    def serving(self) -> dict[str, str]:
        """The version that serves in each line, in memory or not; of what cannot be loaded none."""
        cold = {name: entry.version for name, entry in self._champions.items() if name not in self._failures}
        return cold | {name: model.ref.version for name, model in self._models.items()}

    def _champion_version(self, name: str) -> str | None:
        champion = self._champions.get(name)
        return champion.version if champion else None

    def _standing_failure(self, name: str) -> "_Failure | None":
        """Why a line's version cannot be loaded, until it is worth another try."""
        failure = self._failures.get(name)
        if failure is None or time.monotonic() - failure.at >= RETRY_SECONDS:
            return None
        return failure if failure.activation == self._champions.get(name) else None

    def serves(self, name: str, lines: SeenLines) -> bool:
        """Whether there is a line of this name that the caller sees."""
        return lines.sees(name) and (name in self._models or name in self._champions)

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
        most = 0
        for model in self._models.values():
            if not model.batcher.rows:  # of many models nearly all wait for nothing
                return self._settings.queue_rows
            most = max(most, model.batcher.capacity)
        return most if self._models else sys.maxsize

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
        if not self.lines() and not found:
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
            self._champions[name] = activation
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
            version = await asyncio.to_thread(self.store.previous, name)
            model = self._models.get(name)
            if model is None or model.ref.version != version:  # else it never ceased to serve
                model = await asyncio.to_thread(self._prepare, name, version)
            if note is not None:
                await note(version)
            activation = await asyncio.to_thread(self.store.rollback, by, name, version, reason)
            self._champions[name] = activation
            if self._models.get(name) is not model:
                self._swap_in(name, model)
            self._failures.pop(name, None)
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
        self.residents.make_room()
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
                activations = await asyncio.to_thread(self.store.activations)
            except (NearnormError, OSError) as error:
                self._store_problem = str(error)
                return
            self._store_problem = None
            if activations != self._activation_log:
                self._activation_log = activations
                self._activations = Counter((entry.model, entry.action) for entry in activations)
            before, self._champions = self._champions, {entry.model: entry for entry in activations}
            self._metrics.lines.admit([DEFAULT_MODEL, *self._champions])
            for name in self._due(before, at_start):
                await self._load(self._champions[name])

    def _due(self, before: Mapping[str, Activation], at_start: bool) -> list[str]:
        """The lines to load now: with the first look at the log some. From then on those that have another
        champion than before, so that one which cannot serve is told at once; and what failed, one at a time.
        """
        champions = self._champions
        if at_start or not before:
            newest = sorted(champions, key=lambda name: (name != DEFAULT_MODEL, -champions[name].number))
            return newest[:AT_START]
        changed = [name for name, entry in champions.items() if before.get(name) != entry]
        now = time.monotonic()
        failed = [
            name
            for name, failure in self._failures.items()
            if name in champions and now - failure.at >= RETRY_SECONDS
        ]
        return list(dict.fromkeys([*changed, *failed[:1]]))

    async def _load(self, activation: Activation) -> None:
        name, version = activation.model, activation.version
        current = self._models.get(name)
        if current is not None and current.ref.version == version:
            self._failures.pop(name, None)
            return
        try:
            model = await asyncio.to_thread(self._prepare, name, version)
        except NearnormError as error:
            self._note_failure(activation, error)
            return
        self._swap_in(name, model)

    def _note_failure(self, activation: Activation, error: NearnormError) -> "_Failure":
        failure = self._failures[activation.model] = _Failure(activation, time.monotonic(), str(error))
        return failure

    def _prepare(self, name: str, version: str) -> LoadedModel:
        try:
            return load_model(self._versions.open, name, version, self._settings, self._trusted, self._finish)
        except NearnormError as error:
            self._metrics.failed_load(name)
            cause = error.__cause__  # of what nobody foresaw
            log.error("model not loaded", model=name, version=version, problem=str(error), exc_info=cause)
            raise

    def _swap_in(self, name: str, model: LoadedModel) -> None:
        log.info("model loaded", model=name, version=model.ref.version, provider=model.engine.provider)
        self._put(name, model)

    def _put(self, name: str, model: LoadedModel) -> None:
        model.serve(self._metrics, self._limits, self._executor, self._explaining)
        self.residents.put(name, model)
        self._failures.pop(name, None)
        loop = asyncio.get_running_loop()
        if self._trim is not None:
            self._trim.cancel()
        self._trim = loop.call_later(TRIM_SECONDS, loop.run_in_executor, None, trim_heap)

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

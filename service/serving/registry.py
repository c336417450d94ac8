"""The registry: the model that answers a request, by its line.

There may be more lines than memory holds models: whose model is not in memory is loaded when it is asked for,
never in the event loop. Which version serves in a line is for `champions/`, which models are in memory for
`memory/`.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from nearnorm.models.errors import NearnormError
from nearnorm.models.some_of import some_of
from nearnorm.models.store.folder import DEFAULT_MODEL, Activation, ModelStore
from nearnorm.service.background import Background
from nearnorm.service.errors import MOST_REPEATED, ColdModel, DeadlineExceeded, NoModel, UnknownModel
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.places import NamedPlaces
from nearnorm.service.serving.champions.champions import Champions
from nearnorm.service.serving.champions.cold import ColdModels
from nearnorm.service.serving.champions.failures import Failures
from nearnorm.service.serving.champions.swaps import Swaps
from nearnorm.service.serving.lanes import Lanes
from nearnorm.service.serving.memory.loader import Loader
from nearnorm.service.serving.memory.settled import Settled
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.settings import Settings

_NONE_SEEN = "no model is loaded that this API key is bound to"


def _other_version(name: str, version: str, serving: str) -> UnknownModel:
    return UnknownModel(
        f"version {version[:MOST_REPEATED]!r} of {name!r} is not in memory, where "
        f"{serving} serves: leave the version out, or activate that one",
        field="version",
    )


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
        self.places = NamedPlaces(settings)
        self._settings = settings
        self._background = background
        self.lanes, self.settled = Lanes(), Settled()
        self._loader = Loader(store, settings, metrics, self.lanes, self.settled, prepare)
        self.residents = self._loader.residents
        self._models = self.residents.models
        self._champions, self._failures = Champions(), Failures()
        self._cold = ColdModels(store, metrics, self._loader, self._champions, self._failures)
        self.swaps = Swaps(store, metrics, background, self._loader, self._champions, self._failures)

    async def start(self) -> None:
        """Load the champions, the starter model into an empty store first, and follow the log.

        Raises what went wrong where NEARNORM_DEVICE=cuda makes a promise that cannot be kept.
        """
        await self.swaps.start()
        if self._settings.device == "cuda" and (failures := self._failures.messages(EVERY_LINE)):
            raise NearnormError(failures[0])
        self.swaps.follow()

    async def close(self) -> None:
        await self.swaps.close()
        await self._cold.close()
        self._loader.close()

    def first(self, lines: SeenLines) -> LoadedModel:
        """By whose schema a body is read before it says which model it means: the default one, if it is there
        and seen, else any.

        Raises NoModel when nothing serves, UnknownModel where nothing of it is seen, ColdModel where nothing
        seen is in memory.
        """
        model = self._models.get(DEFAULT_MODEL)
        if model is not None and (lines.is_every or lines.sees(DEFAULT_MODEL)):
            return model
        if (line := self.first_line(lines)) is not None:
            model = self._models[line]
            model.used_at = time.monotonic()
            return model
        failure = None
        for name in filter(lines.sees, self._champions.by_line):
            failure = self._failures.standing(name, self._champions.by_line.get(name))
            if failure is None:
                raise ColdModel(name)
        if failure is not None:
            raise failure.error()
        if self._champions.by_line or not lines.is_every:
            raise UnknownModel(_NONE_SEEN, field="model")
        raise NoModel(self.problems(lines)[0], headers={"Retry-After": "5"})

    def first_line(self, lines: SeenLines) -> str | None:
        """Whose the model is that `first` finds in memory, if there is one that is seen."""
        if lines.sees(DEFAULT_MODEL) and DEFAULT_MODEL in self._models:
            return DEFAULT_MODEL
        return next(filter(lines.sees, self._models), None)

    def get(self, name: str, lines: SeenLines, version: str | None = None) -> LoadedModel:
        """The model of a line that the caller sees.

        Raises UnknownModel, also where another version than this one serves; NoModel as `first`, and where
        the line's version cannot be loaded; ColdModel where it is not in memory.
        """
        model = self._models.get(name) if lines.sees(name) else None
        if model is None:
            self.check(name, lines, version)
            failure = self._failures.standing(name, self._champions.by_line.get(name))
            raise ColdModel(name) if failure is None else failure.error()
        model.used_at = time.monotonic()
        if version is not None and version != model.ref.version:
            raise _other_version(name, version, model.ref.version)
        return model

    def check(self, name: str, lines: SeenLines, version: str | None = None) -> None:
        """Raises as `get` for a line that the caller does not see, or that another version serves."""
        model = self._models.get(name)
        serving = model.ref.version if model else self._champions.version(name)
        if serving is None or not lines.sees(name):
            known = sorted(filter(lines.sees, self.lines()))
            if not known:
                self.first(lines)  # raises: nothing serves that is seen
            raise UnknownModel(
                f"no model is named {name[:MOST_REPEATED]!r}: there is {some_of(known)}", field="model"
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
        loading = self._cold.loading(name)
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

    def lines(self) -> set[str]:
        """Whoever serves, in memory or not."""
        return self._champions.by_line.keys() | self._models.keys()

    def versions(self) -> dict[str, str]:
        """The version of each line: the one in memory, else its champion. In any thread."""
        champions = {name: entry.version for name, entry in self._champions.by_line.copy().items()}
        return champions | {name: model.ref.version for name, model in self.loaded().items()}

    def serving(self) -> dict[str, str]:
        """The version that serves in each line, in memory or not; of what cannot be loaded none."""
        return {
            name: version
            for name, version in self.versions().items()
            if name in self._models or name not in self._failures
        }

    def serves(self, name: str, lines: SeenLines) -> bool:
        """Whether there is a line of this name that the caller sees."""
        return lines.sees(name) and (name in self._models or name in self._champions.by_line)

    def versions_of(self, name: str) -> frozenset[str]:
        """The versions that a line was ever served by, as the log was last read, and by the one in memory."""
        served = {entry.version for entry in self._champions.log if entry.model == name}
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
    def has_lines(self) -> bool:
        """Whether there are several in memory, each with a queue: one may be full, and others not."""
        return len(self._models) > 1

    def is_line_full_for(self, line: str, caller: str) -> bool:
        """Whether one line's model, if it is in memory, takes no request of this caller now."""
        model = self._models.get(line)
        return model is not None and model.batcher.overflown and model.batcher.is_full_for(caller)

    def capacity(self, line: str | None = None) -> int:
        """How many more requests fit into a line's queue, or (None) into any, at least; as many as come where
        there is no model."""
        if line is not None:
            model = self._models.get(line)
            return sys.maxsize if model is None else model.batcher.capacity
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
        return self._champions.actions

    def activation_log(self) -> Sequence[Activation]:
        """The store's log as it was last read, oldest first."""
        return self._champions.log

    def problems(self, lines: SeenLines) -> list[str]:
        """Why the service is not ready, does not serve what the log says, or fails beside the requests.

        Of what is no line's those are told who see all. Empty: all is well."""
        found = self._failures.messages(lines)
        if lines.is_every:
            found += self._background.problems()
            if self.swaps.store_problem:
                found.append(self.swaps.store_problem)
            if not self.lines() and not found:
                found.append(self.swaps.none_active)
        return [self.places.named(problem) for problem in found]

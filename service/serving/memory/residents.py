"""The models in memory, by line: where they take more than they may, who was not asked for longest leaves."""

import time
from collections.abc import Mapping

from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.serving.model import LoadedModel, SeenTraffic

KEPT_SECONDS = 1.0
"""Whoever was asked for so lately stays, whatever memory there is: a request may be on its way to it."""


class Residents:
    """In the event loop alone, but for `free`. The line `default` stays, and who has rows to answer. What a
    model saw of its traffic outlives it, a tenth of its size: drift is found in tens of thousands of rows."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        """About what they take."""
        self.left = 0
        """How many have left."""
        self._models: dict[str, LoadedModel] = {}
        self._seen: dict[str, SeenTraffic] = {}  # by those who left
        self._gone: list[LoadedModel] = []

    @property
    def models(self) -> Mapping[str, LoadedModel]:
        return self._models

    def traffic(self) -> dict[str, SeenTraffic]:
        """What every line saw that was ever in memory."""
        return self._seen | {name: model.seen for name, model in dict(self._models).items()}

    def put(self, name: str, model: LoadedModel) -> None:
        """A line's model, from now on; it goes on with what its version saw before it left."""
        before = self._models.get(name)
        self.bytes += model.bytes - (before.bytes if before else 0)
        seen = self._seen.pop(name, None)
        if seen is not None and seen.version == model.ref.version:
            model.go_on(seen)
        model.used_at = time.monotonic()
        self._models[name] = model
        self.make_room(but=name)

    def make_room(self, but: str = DEFAULT_MODEL) -> None:
        """Let leave who has to, `but` one."""
        while self.bytes > self.most_bytes:
            before = time.monotonic() - KEPT_SECONDS
            idle = [
                name for name, model in self._models.items() if name != but and _is_idle(name, model, before)
            ]
            if not idle:
                return
            self._leave(min(idle, key=lambda name: self._models[name].used_at))

    def free(self) -> None:
        """Give back the memory of who left: milliseconds, so not in the event loop."""
        gone, self._gone = self._gone, []
        gone.clear()

    def _leave(self, name: str) -> None:
        model = self._models.pop(name)
        model.meter.serving = None  # of a line that is shown; of the others it is not told
        model.drift.let_go()
        self._seen[name] = model.seen
        self._gone.append(model)
        self.bytes -= model.bytes
        self.left += 1


def _is_idle(name: str, model: LoadedModel, before: float) -> bool:
    return name != DEFAULT_MODEL and model.used_at < before and not model.batcher.rows

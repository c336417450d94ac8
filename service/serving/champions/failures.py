"""Champions that could not be loaded, why, and when they are worth another try."""

import time
from collections.abc import Container, Iterator

from msgspec import Struct

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import Activation
from nearnorm.service.errors import NoModel
from nearnorm.service.ledger.seen_lines import SeenLines

RETRY_SECONDS = 30.0
"""A version that could not be loaded is tried again: its files may have been on their way."""


class FailedChampion(Struct, frozen=True):
    """Why a line's champion does not serve."""

    activation: Activation
    at: float
    message: str

    @property
    def is_fresh(self) -> bool:
        """Whether it is too early for another try."""
        return time.monotonic() - self.at < RETRY_SECONDS

    def error(self) -> NoModel:
        """For whoever asks the model: what is wrong is told to who looks at all of them."""
        name, version = self.activation.model, self.activation.version
        return NoModel(
            f"model {name!r} cannot be loaded: version {version} does not serve here, GET /readyz "
            "and the log say why: activate another version of it, or import its bundle again",
            headers={"Retry-After": f"{RETRY_SECONDS:.0f}"},
        )


class Failures:
    """By line: the last one, until it loads."""

    def __init__(self) -> None:
        self._by_line: dict[str, FailedChampion] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_line

    def note(self, activation: Activation, error: NearnormError) -> FailedChampion:
        failure = self._by_line[activation.model] = FailedChampion(activation, time.monotonic(), str(error))
        return failure

    def forget(self, name: str) -> None:
        self._by_line.pop(name, None)

    def standing(self, name: str, champion: Activation | None) -> FailedChampion | None:
        """Why a line's champion cannot be loaded, until it is worth another try."""
        failure = self._by_line.get(name)
        if failure is None or not failure.is_fresh:
            return None
        return failure if failure.activation == champion else None

    def due(self, lines: Container[str]) -> Iterator[str]:
        """Of these lines, those that are worth another try."""
        return (name for name, failure in self._by_line.items() if name in lines and not failure.is_fresh)

    def messages(self, lines: SeenLines) -> list[str]:
        """What went wrong in lines that are seen, oldest first."""
        return [
            f"model {name!r}: {failure.message}"
            for name, failure in self._by_line.items()
            if lines.sees(name)
        ]

"""The champions: which version should serve in each line, as the store's activation log was last read."""

from collections import Counter
from collections.abc import Mapping, Sequence

from nearnorm.models.store.folder import Activation


class Champions:
    """In the event loop alone."""

    def __init__(self) -> None:
        self.by_line: dict[str, Activation] = {}
        self.log: Sequence[Activation] = ()
        """Oldest first."""
        self.actions: Mapping[tuple[str, str], int] = Counter()
        """How often each model was activated or rolled back."""

    def version(self, name: str) -> str | None:
        champion = self.by_line.get(name)
        return champion.version if champion else None

    def read(self, log: Sequence[Activation]) -> Mapping[str, Activation]:
        """Take over what the log says; the champions before."""
        if log != self.log:
            self.log = log
            self.actions = Counter((entry.model, entry.action) for entry in log)
        before, self.by_line = self.by_line, {entry.model: entry for entry in log}
        return before

"""The lines that several processes tell of by their names: one chooses for all, by what all of them scored.

If each chose for itself, a line's rows would be counted by its name in one, and with the others' in another.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nearnorm.service.metrics.busiest import BusiestLines

_CHOSEN = "lines.json"


class SharedLines(BusiestLines):
    """Of process `number` of those that share a folder. The first that serves chooses; the others follow with
    their next look."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__()
        self._folder = folder
        self._number = number
        self._follow()

    def look(self, rows: Mapping[str, int], always: str) -> bool:
        self._put(f"{self._number}.rows.json", rows)
        serving = [int(path.stem) for path in self._folder.glob("*.socket")]
        if self._number > min(serving, default=self._number):
            return self._follow()
        together: Counter[str] = Counter()
        for path in self._folder.glob("[0-9]*.rows.json"):
            together.update(msgspec.json.decode(path.read_bytes(), type=dict[str, int]))
        changed = super().look(together, always)
        self._put(_CHOSEN, sorted(self.shown))
        return changed

    def _follow(self) -> bool:
        """Show what was chosen, and while there is room what is new here; whether that is something else."""
        path = self._folder / _CHOSEN
        if not path.exists():
            return False
        before, self.shown = self.shown, set(msgspec.json.decode(path.read_bytes(), type=list[str]))
        self.admit(sorted(before))
        return self.shown != before

    def _put(self, name: str, content: object) -> None:
        """Whole, for whoever reads it meanwhile."""
        fresh = self._folder / f".{name}-{self._number}"
        fresh.write_bytes(msgspec.json.encode(content))
        fresh.rename(self._folder / name)

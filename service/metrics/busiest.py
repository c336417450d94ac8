"""Which lines are told of by their own names: the busiest. All others are told of together, as `(other)`.

So however many lines there are, Prometheus has as many series as for fifty. A line keeps its place until
another one is clearly busier. What is counted under a name goes on from where it was when its line is back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily

MOST_SHOWN = 50
OTHER = "(other)"  # a name that no line can have
LOOK_SECONDS = 15.0
LEAD = 1.5
"""Times the rows of the least busy line shown that another must have to take its place."""
_FADES = 0.99  # in LOOK_SECONDS: rows of an hour ago count for a tenth


class BusiestLines:
    """Lines that were named first are shown, while there is room."""

    def __init__(self) -> None:
        self.shown: set[str] = set()
        self._rows: dict[str, int] = {}  # of each line, at the last look
        self._busy: dict[str, float] = {}

    def has(self, line: str) -> bool:
        return line in self.shown

    def label(self, line: str) -> str:
        """What a line is called on /metrics."""
        return line if line in self.shown else OTHER

    def tells(self, label: str) -> bool:
        """Whether anything is called so now."""
        return label == OTHER or label in self.shown

    def admit(self, lines: Iterable[str]) -> None:
        """Show lines, as far as there is room."""
        for line in lines:
            if len(self.shown) >= MOST_SHOWN:
                return
            self.shown.add(line)

    def look(self, rows: Mapping[str, int], always: str) -> bool:
        """Take notice of how many `rows` each line has scored so far; whether other lines are shown now.

        The line `always` keeps its place."""
        for line, count in rows.items():
            fresh = max(0, count - self._rows.get(line, 0))
            self._busy[line] = _FADES * self._busy.get(line, 0.0) + fresh
        self._rows = dict(rows)
        self.admit(line for line in rows if line not in self.shown)
        outside = sorted((line for line in rows if line not in self.shown), key=self._of, reverse=True)
        inside = sorted(self.shown - {always}, key=self._of)
        changed = False
        for newcomer, least in zip(outside, inside, strict=False):
            if self._of(newcomer) <= LEAD * self._of(least):
                break
            self.shown.remove(least)
            self.shown.add(newcomer)
            changed = True
        return changed

    def _of(self, line: str) -> float:
        return self._busy.get(line, 0.0)


class ByLine:
    """A gauge with a sample for each line that is shown. `together` makes one of those of the others: their
    sum, or the largest; None: of what means nothing together they have none."""

    def __init__(
        self,
        lines: BusiestLines,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        together: Callable[[float, float], float] | None = None,
    ) -> None:
        self.family = GaugeMetricFamily(name, documentation, labels=("model", *labels))
        self._lines = lines
        self._together = together
        self._others: dict[tuple[str, ...], float] = {}

    def add(self, line: str, value: float, *labels: str) -> None:
        if self._lines.has(line):
            self.family.add_metric((line, *labels), value)
        elif self._together is not None:
            known = self._others.get(labels)
            self._others[labels] = value if known is None else self._together(known, value)

    def whole(self) -> GaugeMetricFamily:
        """The family, with the others."""
        for labels, value in self._others.items():
            self.family.add_metric((OTHER, *labels), value)
        return self.family

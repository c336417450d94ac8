"""Drift: how live traffic differs from the reference rows of the model that scores it.

Rows are counted in cells (histogram.py) over two sliding windows, a short one that notices a change within
2,000 rows and a long one whose figures are steady. At every step each signal is tested (divergence.py)
at a level that keeps false reports, of all signals and looks together, under FALSE_REPORTS a million
rows; a real but irrelevant change stays under a limit on the PSI. Memory is fixed by the model.
"""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np
from msgspec import Struct

from nearnorm.models.bundle.manifest import Core
from nearnorm.service.drift.clusters import Clusters, DenseRegion
from nearnorm.service.drift.divergence import Comparison, Divergence, Integers, chi2_tail
from nearnorm.service.drift.histogram import Observed, Signal, SignalHistogram, joined
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows

STEP, SHORT, LONG_STEP, LONG = 250, 1_000, 8_000, 32_000  # rows
FALSE_REPORTS = 0.1  # expected a million rows of unchanged, independent traffic
PSI_LIMIT = 0.1
FAR_LIMIT = 0.02  # of the far share: from 1% to about 3%, which is worth more than its PSI says
_CLEARED = 0.5  # a drift is over when its PSI is under this part of its limit
_REPORTS_KEPT = 100
_BATCHES = 25  # that are put together at once: 250 of one row each would hold everybody up for a millisecond


class DriftOnset(Struct, frozen=True):
    """A signal began to drift, by the window of so many rows that noticed it. `row` counts from 1."""

    signal: Signal
    psi: float
    p_value: float
    window: int
    row: int
    at: datetime


class SignalState(Struct, frozen=True):
    """A signal over the long window, beside its reference. Rates are None where they mean nothing."""

    signal: Signal
    psi: float
    drifted_since: datetime | None
    shares: tuple[float, ...]
    reference_shares: tuple[float, ...]
    missing: float | None
    reference_missing: float | None
    unknown: float | None
    reference_unknown: float | None


class DriftSnapshot(Struct, frozen=True):
    """`rows` were seen in all, the states cover the newest `window` of them."""

    rows: int
    window: int
    signals: tuple[SignalState, ...]
    reports: tuple[DriftOnset, ...]
    candidates: tuple[DenseRegion, ...]


class Window:
    """Counts of the newest rows, in blocks of `step` rows."""

    def __init__(self, cells: int, step: int, rows: int) -> None:
        self.rows, self._step = rows, step
        self.blocks: deque[Integers] = deque(maxlen=rows // step)
        self.total = np.zeros(cells, np.int64)
        self._open = np.zeros(cells, np.int64)
        self._open_rows = 0

    @property
    def full(self) -> bool:
        return len(self.blocks) == self.blocks.maxlen

    @property
    def held(self) -> int:
        return len(self.blocks) * self._step + self._open_rows

    def add(self, counts: Integers, rows: int) -> bool:
        """Take `rows` rows, which divide the step; true when that completed a block."""
        self._open += counts
        self._open_rows += rows
        if self._open_rows < self._step:
            return False
        if self.full:
            self.total -= self.blocks[0]
        self.total += self._open
        self.blocks.append(self._open)
        self._open, self._open_rows = np.zeros_like(self._open), 0
        return True

    def newest(self) -> Integers:
        """Counts of the `held` newest rows, the open block included."""
        return self.total + self._open


class Drift:
    """Watches one model, in one thread."""

    def __init__(self, core: Core, on_report: Callable[[DriftOnset], None]) -> None:
        """`on_report` is called once for every signal that begins to drift."""
        self._histogram = SignalHistogram(core)
        signals = self._histogram.signals
        self._comparison = Comparison(self._histogram.reference, self._histogram.sizes, SHORT)
        self._limit = np.array([FAR_LIMIT if s.kind == "distance" else PSI_LIMIT for s in signals])
        self._windows = [
            Window(len(self._histogram.reference), *w) for w in ((STEP, SHORT), (LONG_STEP, LONG))
        ]
        tests = len(signals) * len(self._windows)
        self._critical = [
            self._comparison.critical(FALSE_REPORTS * 1e-6 * step / tests) for step in (STEP, LONG_STEP)
        ]
        self._over = np.zeros((len(self._windows), len(signals)), bool)
        self._since: list[datetime | None] = [None] * len(signals)
        self._clusters = Clusters(core)
        self._reports: deque[DriftOnset] = deque(maxlen=_REPORTS_KEPT)
        self.on_report = on_report
        self._waiting: list[tuple[Rows, Outputs, Mapping[int, str]]] = []
        self._gathered: list[Observed] = []
        self._waiting_rows = 0
        self._rows = 0

    def observe(self, rows: Rows, outputs: Outputs, event_ids: Mapping[int, str]) -> bool:
        """Remember rows; true once `settle` has enough of them to count.

        Their outputs are the first of `outputs`. `event_ids`, of those kept, may be added to until more
        rows are observed or settled.
        """
        if len(self._waiting) == _BATCHES:
            self._gather()
        self._waiting.append((rows, outputs, event_ids))
        self._waiting_rows += len(rows)
        return self._waiting_rows >= STEP

    def settle(self) -> None:
        """Count what was observed, if it fills a step."""
        if self._waiting_rows >= STEP:
            if self._waiting:
                self._gather()
            gathered, self._gathered = self._gathered, []
            self._count(joined(gathered))

    def count(self, rows: Observed) -> None:
        """Count rows now; those beyond a whole STEP wait for the next."""
        gathered, self._gathered = self._gathered, []
        self._count(joined([*gathered, rows]))

    def let_go(self) -> None:
        """Keep copies of what waits to be counted: a model's answers lie in memory of its session, all of
        which stays for as long as any of them."""
        if self._waiting:
            self._gather()
        if self._gathered:
            whole = joined(self._gathered)
            self._gathered = [whole.take(np.arange(len(whole)))]

    def _gather(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._gathered.append(joined([_observed(*each) for each in waiting]))

    def _count(self, rows: Observed) -> None:
        whole = len(rows) - len(rows) % STEP
        places = np.arange(len(rows))
        for start in range(0, whole, STEP):
            for report in self._step(rows.take(places[start : start + STEP])):
                self._reports.append(report)
                self.on_report(report)
        if whole < len(rows):
            self._gathered.append(rows.take(places[whole:]))
        self._waiting_rows = len(rows) - whole

    @property
    def window(self) -> int:
        """How many of the newest rows the states cover."""
        return self._windows[-1].held

    @property
    def candidates(self) -> int:
        """How many candidate normal groups there are."""
        return self._clusters.count

    @property
    def drifts(self) -> bool:
        """Whether any signal does: cheaper than their states."""
        return any(since is not None for since in self._since)

    @property
    def lasting(self) -> bool:
        """Whether a signal drifts over the whole long window: it is no passing burst."""
        return bool(self._over[-1].any())

    def states(self) -> tuple[SignalState, ...]:
        counts = self._windows[-1].newest()
        psi = self._comparison.of(counts).psi.tolist()
        return tuple(self._state(i, counts, p) for i, p in enumerate(psi))

    def snapshot(self) -> DriftSnapshot:
        return DriftSnapshot(
            rows=self._rows,
            window=self.window,
            signals=self.states(),
            reports=tuple(self._reports),
            candidates=tuple(self._clusters.candidates()),
        )

    def _step(self, rows: Observed) -> list[DriftOnset]:
        now = datetime.now(UTC)
        counts = self._histogram.count(rows)
        self._rows += len(rows)
        self._clusters.add(rows, now)
        fresh: list[DriftOnset] = []
        for number, window in enumerate(self._windows):
            if window.add(counts, len(rows)) and window.full:
                fresh += self._look(number, self._comparison.of(window.total), now)
        return fresh

    def _look(self, number: int, found: Divergence, now: datetime) -> list[DriftOnset]:
        before = self._over.any(axis=0)
        shifted = (found.g > self._critical[number]) & (found.psi >= self._limit)
        self._over[number] = shifted | (self._over[number] & (found.psi >= _CLEARED * self._limit))
        after = self._over.any(axis=0)
        for signal in np.flatnonzero(before & ~after):
            self._since[signal] = None
        fresh = np.flatnonzero(after & ~before)
        for signal in fresh:
            self._since[signal] = now
        return [
            DriftOnset(
                signal=self._histogram.signals[signal],
                psi=float(found.psi[signal]),
                p_value=chi2_tail(float(found.g[signal]), int(self._comparison.df[signal])),
                window=self._windows[number].rows,
                row=self._rows,
                at=now,
            )
            for signal in fresh
        ]

    def _state(self, number: int, counts: Integers, psi: float) -> SignalState:
        signal, cells, reference = self._histogram.signals[number], self._histogram, self._histogram.reference
        feature = signal.kind in ("numeric", "categorical")
        coded = signal.kind == "categorical"
        return SignalState(
            signal=signal,
            psi=psi,
            drifted_since=self._since[number],
            shares=tuple(cells.share(counts, number).tolist()),
            reference_shares=tuple(cells.share(reference, number).tolist()),
            missing=cells.missing(counts, number) if feature else None,
            reference_missing=cells.missing(reference, number) if feature else None,
            unknown=cells.unknown(counts, number) if coded else None,
            reference_unknown=cells.unknown(reference, number) if coded else None,
        )


def _observed(rows: Rows, outputs: Outputs, event_ids: Mapping[int, str]) -> Observed:
    count = len(rows)
    return Observed(
        rows.numeric,
        rows.codes,
        outputs.score[:count],
        outputs.prototype[:count],
        outputs.distance[:count],
        outputs.similarity[:count],
        {row: event_id for row, event_id in event_ids.items() if row < count},
    )

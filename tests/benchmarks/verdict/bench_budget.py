"""Whether "40 a day" is kept: three weeks of traffic through the real ledger and solver, hour by hour.

    python -m tests.benchmarks.verdict.bench_budget --seeds 10

Scores of normals and anomalies are drawn as log odds; the threshold is solved anew each hour from what the
ledger holds. A week's mean is alerts over promised, of whole weeks from the second day on, the day of an
unannounced change left out. A day is held against the forecast that was made at its beginning. Each seed of
a scenario is a line of --out, and is not run again.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from scipy.stats import norm

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import NOBODY, RESCORED, Counted
from nearnorm.service.verdict.traffic.history import DAY, SKETCH_DAYS, VOLUME_DAYS, trailing
from nearnorm.service.verdict.traffic.pace import forecast_at, pace
from nearnorm.service.verdict.traffic.score_bins import EDGES

BUDGET = 40.0
DAYS = 21
CHANGE = 10
START = 480_000  # an hour since 1970
AUDIT = 0.01
DIURNAL = 1 + 0.5 * np.sin(2 * np.pi * np.arange(DAY) / DAY)


class Scenario(Struct, frozen=True):
    """`rows(day, hour)` a hour, `anomalies(day)` as a share, `version(day)`, and in how many replicas."""

    rows: Callable[[int, int], float]
    anomalies: Callable[[int], float] = lambda day: 0.01
    version: Callable[[int], str] = lambda day: "a"
    replicas: int = 1
    novel: float = 0.0  # alerts a day that no score raises
    changes: bool = False
    announced: bool = False  # a swap: the service knows of it


def flat(rows: float) -> Callable[[int, int], float]:
    return lambda day, hour: rows / DAY * DIURNAL[hour]


SCENARIOS = {
    "flat 5,000": Scenario(flat(5e3)),
    "flat 50,000": Scenario(flat(5e4)),
    "flat 1,000,000": Scenario(flat(1e6)),
    "weekends at a fifth": Scenario(lambda d, h: flat(5e4)(d, h) / (5 if d % 7 > 4 else 1)),
    "times ten": Scenario(lambda d, h: flat(5e4)(d, h) * (10 if d >= CHANGE else 1), changes=True),
    "attack, 1% to 10%": Scenario(flat(5e4), lambda d: 0.1 if d >= CHANGE else 0.01, changes=True),
    "swap to a sharper model": Scenario(
        flat(5e4), version=lambda d: "b" if d >= CHANGE else "a", changes=True, announced=True
    ),
    "swap to a flatter model": Scenario(
        flat(5e4), version=lambda d: "a" if d >= CHANGE else "b", changes=True, announced=True
    ),
    "nightly batch": Scenario(lambda d, h: 0.6 * flat(5e4)(d, h) + (2e4 if h == 2 else 0)),
    "ten novel a day": Scenario(flat(5e4), novel=10.0),
    "two replicas": Scenario(flat(5e4), replicas=2),
}
SHAPES = {"a": ((-3.0, 1.5), (3.0, 2.0)), "b": ((-4.0, 1.8), (2.5, 1.2))}
"""Log odds of normals and of anomalies under each version: mean and standard deviation."""


def shares(version: str, anomalies: float) -> np.ndarray:
    """[BINS] of all traffic."""
    with np.errstate(divide="ignore"):
        odds = np.log(EDGES / (1 - np.minimum(EDGES, np.float32(1 - 1e-7))))
    parts = [np.diff(norm.cdf(odds, *shape), append=1.0) for shape in SHAPES[version]]
    mixed = (1 - anomalies) * parts[0] + anomalies * parts[1]
    return np.asarray(mixed / mixed.sum())


class Days(Struct):
    """By day: alerts, and what was forecast at its beginning (low, mean, high)."""

    alerts: list[int]
    forecasts: list[tuple[float, float, float]]


def run(ledger: Ledger, scenario: Scenario, seed: int) -> Days:
    rng = np.random.default_rng(seed)
    found = Days([], [])
    threshold = float(EDGES[np.searchsorted(-np.cumsum(shares("a", 0.01)[::-1])[::-1], -0.01)])
    version = scenario.version(0)
    for day in range(DAYS):
        alerts = 0
        for hour in range(DAY):
            now = START + day * DAY + hour
            if scenario.version(day) != version:
                version = scenario.version(day)
                with ledger.write() as connection:
                    traffic.put(connection, RESCORED, list(_rescored(scenario, rng, day, now)))
            with ledger.read() as connection:
                hours = traffic.since(
                    connection, "m", version, now - VOLUME_DAYS * DAY, now - SKETCH_DAYS * DAY
                )
            history = trailing(hours, now)
            paced = pace(history, BUDGET, "week", day - 1)
            if paced is not None and day > 0:
                threshold = paced.threshold
            if hour == 0:
                forecast = forecast_at(history, threshold)
                found.forecasts.append(
                    (forecast.low, forecast.mean, forecast.high) if forecast else (0.0, 0.0, 0.0)
                )
            rows = rng.poisson(scenario.rows(day, hour))
            bins = rng.multinomial(rows, shares(version, scenario.anomalies(day)))
            novel = int(rng.poisson(scenario.novel / DAY)) if scenario.novel else 0
            alerts += int(bins[np.float32(threshold) <= EDGES].sum()) + novel
            with ledger.write() as connection:
                for replica in range(scenario.replicas):
                    part = bins if scenario.replicas == 1 else _half(bins, replica, rng)
                    traffic.put(
                        connection, f"r{replica}", [_counted(now, version, part, threshold, novel=novel)]
                    )
        found.alerts.append(alerts)
    return found


def _half(bins: np.ndarray, replica: int, rng: np.random.Generator) -> np.ndarray:
    first = np.random.default_rng(int(bins.sum())).binomial(bins, 0.5)
    return np.asarray(first if replica == 0 else bins - first)


def _rescored(scenario: Scenario, rng: np.random.Generator, day: int, now: int) -> Iterator[Counted]:
    """What a swap finds in the event log: the audit slice."""
    version = scenario.version(day)
    for back in range(1, 7 * DAY + 1):
        rows = scenario.rows((now - back - START) // DAY, (now - back - START) % DAY)
        drawn = rng.multinomial(rng.poisson(rows * AUDIT), shares(version, 0.01))
        yield _counted(now - back, version, drawn, 2.0, NOBODY, rows=0)


def _counted(
    hour: int,
    version: str,
    bins: np.ndarray,
    threshold: float,
    caller: str = "anonymous",
    rows: int | None = None,
    novel: int = 0,
) -> Counted:
    raised = int(bins[np.float32(threshold) <= EDGES].sum())
    sketch = {int(place): float(bins[place]) for place in np.flatnonzero(bins)}
    count = int(bins.sum()) if rows is None else rows
    return Counted("m", hour, version, caller, count, raised, novel, 0, 0, sketch)


@contextmanager
def _ledger() -> Iterator[Ledger]:
    with TemporaryDirectory() as folder:
        ledger = Ledger.at(None, Path(folder))
        migrate(ledger)
        with ledger.write() as connection:  # a simulated day need not survive a power cut
            connection.exec_driver_sql("SELECT 1")
        yield ledger
        ledger.close()


def measured(out: Path, seeds: range, only: str) -> Iterator[tuple[str, int, Days]]:
    """Every seed of every scenario; those that are not in `out` yet are run."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    known = {(line["scenario"], line["seed"]): line["days"] for line in lines}
    for seed, (name, scenario) in itertools.product(seeds, SCENARIOS.items()):
        if only not in name:
            continue
        if (name, seed) not in known:
            with _ledger() as ledger:
                days = run(ledger, scenario, seed)
            with out.open("a") as file:
                file.write(json.dumps({"scenario": name, "seed": seed, "days": asdict(days)}) + "\n")
            yield name, seed, days
        else:
            yield name, seed, Days(**known[name, seed])


class Kept(Struct):
    """How one scenario kept its budget: weeks' means over what was promised, days within their forecasts."""

    weeks: list[float]
    within_99: list[bool]
    within_90: list[bool]

    def add(self, scenario: Scenario, days: Days) -> None:
        alerts = np.array(days.alerts, float)
        starts = (1, CHANGE + 1) if scenario.changes else (1, 8, 14)
        self.weeks += [float(alerts[s : s + 7].sum() / (7 * BUDGET)) for s in starts]
        for day in range(2, DAYS):
            low, mean, high = days.forecasts[day]
            half = (high - mean) * 2.576 / 1.645
            self.within_99.append(bool(mean - half - 0.5 <= alerts[day] <= mean + half + 0.5))
            if day != CHANGE or scenario.announced or not scenario.changes:
                self.within_90.append(bool(low <= alerts[day] <= high))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=Path("var/budget.jsonl"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: Kept([], [], []) for name in SCENARIOS}
    for name, _, days in measured(options.out, range(options.seeds), options.only):
        kept[name].add(SCENARIOS[name], days)
    print(
        "| scenario | weeks, raised over promised: least, mean, most | days in 99% | in 90% |\n"
        "|---|---|---|---|"
    )
    for name, of in kept.items():
        if of.weeks:
            print(
                f"| {name} | {min(of.weeks):.2f} {np.mean(of.weeks):.2f} {max(of.weeks):.2f} | "
                f"{np.mean(of.within_99):.3f} | {np.mean(of.within_90):.3f} |"
            )
    within_99 = [day for of in kept.values() for day in of.within_99]
    within_90 = [day for of in kept.values() for day in of.within_90]
    print(f"| all | | {np.mean(within_99):.3f} | {np.mean(within_90):.3f} |")


if __name__ == "__main__":
    main()

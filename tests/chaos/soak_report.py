"""The samples of a soak: judged against their floors, and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.chaos.hostile_phases import MOST_BESIDE_OVER_WITHOUT, beside_over_without
from tests.chaos.trends import late_over_early, trend

MOST_LATE_OVER_EARLY = 1.2


class Sample(NamedTuple):
    """One row of soak.csv; memory in MB, the slowest hundredth of the interval's requests in ms."""

    seconds: float
    service_mb: float
    service_descriptors: int
    service_threads: int
    worker_mb: float
    worker_descriptors: int
    worker_threads: int
    database_mb: float
    p99_ms: float


FLAT = ("service_mb", "worker_mb", "service_descriptors", "worker_descriptors", "service_threads")
TOLD = ("worker_threads", "database_mb")


@dataclass(frozen=True)
class Judged:
    ok: bool
    lines: list[str]


def judge(
    samples: Sequence[Sample],
    latencies: Sequence[tuple[float, float]],
    hostile: Sequence[tuple[float, float]],
    failures: Sequence[str],
) -> Judged:
    """Slopes with their noise, p99 late over early and beside a hostile caller, what failed: a line each.

    `hostile` are the phases in which he was at work.
    """
    seconds = [sample.seconds for sample in samples]
    lines, ok = [], True
    for name in (*FLAT, *TOLD):
        found = trend(seconds, [float(getattr(sample, name)) for sample in samples])
        bad = name in FLAT and found.grows
        verdict = ("GROWS" if bad else "flat") if name in FLAT else "told"
        lines.append(
            f"{name:20} {found.level:9.2f}, {found.slope:+9.3f} an hour, +-{found.noise:.3f}: {verdict}"
        )
        ok &= not bad
    if not any(sample.worker_mb for sample in samples):
        lines.append("the worker was never seen")
        ok = False
    first, last, ratio = late_over_early(*zip(*latencies, strict=True))
    slower = ratio > MOST_LATE_OVER_EARLY
    lines.append(
        f"p99 {first:.2f} ms in the first quarter, {last:.2f} ms in the last: {ratio:.2f}"
        f"{' SLOWER' if slower else ''}"
    )
    beside, without, more = beside_over_without(latencies, hostile)
    hurt = more > MOST_BESIDE_OVER_WITHOUT
    lines.append(
        f"p99 {beside:.2f} ms beside the hostile caller, {without:.2f} ms without him: {more:.2f}"
        f"{' HURT' if hurt else ''}"
    )
    lines.append(f"{len(failures)} of the requests failed")
    lines += [f"  {failure}" for failure in failures[:20]]
    return Judged(ok and not slower and not hurt and not failures, lines)


def plot(samples: Sequence[Sample], hostile: Sequence[tuple[float, float]], image: Path) -> None:
    """The samples over time; the phases of the hostile caller are shaded."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = [sample.seconds / 60 for sample in samples]
    panels = [
        ("memory, MB", ["service_mb", "worker_mb"]),
        ("descriptors, threads", ["service_descriptors", "worker_descriptors", "service_threads"]),
        ("database, MB", ["database_mb"]),
        ("p99 of a request, ms", ["p99_ms"]),
    ]
    figure, axes = plt.subplots(len(panels), 1, sharex=True, figsize=(8, 9), layout="constrained")
    for axis, (title, names) in zip(axes, panels, strict=True):
        for name in names:
            axis.plot(minutes, [getattr(sample, name) for sample in samples], label=name, linewidth=1)
        for first, last in hostile:
            axis.axvspan(first / 60, last / 60, color="#d98c2b", alpha=0.15, linewidth=0)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        if len(names) > 1:
            axis.legend(fontsize=8, frameon=False, loc="lower right")
    axes[-1].set_xlabel("minutes")
    figure.savefig(image, dpi=110)
    plt.close(figure)

"""The samples of a soak: judged against their floors, and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.chaos.hostile_phases import MOST_BESIDE_OVER_APART, Phase, undisturbed, waits
from tests.chaos.trends import MATTERS, late_over_early, trend

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
    bulk_mb: float
    database_mb: float
    p99_ms: float


FLAT = ("service_mb", "worker_mb", "bulk_mb", "service_descriptors", "worker_descriptors", "service_threads")
TOLD = ("worker_threads", "database_mb")


@dataclass(frozen=True)
class Judged:
    ok: bool
    lines: list[str]


def judge(
    samples: Sequence[Sample],
    latencies: Sequence[tuple[float, float]],
    hostile: Sequence[Phase],
    failures: Sequence[str],
) -> Judged:
    """Slopes with their noise, p99 late over early and beside a hostile caller, what failed: a line each.

    `hostile` are the phases in which a hostile caller was at work.
    """
    seconds = [sample.seconds for sample in samples]
    lines, ok = [], True
    for name in (*FLAT, *TOLD):
        found = trend(seconds, [float(getattr(sample, name)) for sample in samples])
        bad = name in FLAT and found.grows
        verdict = ("GROWS" if bad else "flat") if name in FLAT else "told"
        if found.step is not None and abs(found.step) > MATTERS * found.level:
            verdict += f", one step of {found.step:+.1f}"
        lines.append(
            f"{name:20} {found.level:9.2f}, {found.slope:+9.3f} an hour, +-{found.noise:.3f}: {verdict}"
        )
        ok &= not bad
    if not any(sample.worker_mb for sample in samples):
        lines.append("the worker was never seen")
        ok = False
    quiet = undisturbed(latencies, hostile)
    first, last, ratio = late_over_early(*zip(*quiet, strict=True))
    slower = ratio > MOST_LATE_OVER_EARLY
    lines.append(
        f"p99 without him {first:.2f} ms in the first quarter, {last:.2f} ms in the last: {ratio:.2f}"
        f"{' SLOWER' if slower else ''}"
    )
    found_waits = waits(latencies, hostile)
    beside, apart, without = found_waits
    hurt = beside > MOST_BESIDE_OVER_APART * apart
    lines.append(
        f"p99 {beside:.2f} ms with the hostile caller here, {apart:.2f} ms with him at another service on "
        f"this machine, {without:.2f} ms without him: {beside / apart:.2f} and {beside / without:.2f} times"
        f"{' HURT' if hurt else ''}"
    )
    lines.append(f"{len(failures)} of the requests failed")
    lines += [f"  {failure}" for failure in failures[:20]]
    return Judged(ok and not slower and not hurt and not failures, lines)


def plot(samples: Sequence[Sample], hostile: Sequence[Phase], image: Path) -> None:
    """The samples over time; the phases of the hostile caller are shaded, lighter where he was elsewhere."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = [sample.seconds / 60 for sample in samples]
    panels = [
        ("memory, MB", ["service_mb", "worker_mb", "bulk_mb"]),
        ("descriptors, threads", ["service_descriptors", "worker_descriptors", "service_threads"]),
        ("database, MB", ["database_mb"]),
        ("p99 of a request, ms", ["p99_ms"]),
    ]
    figure, axes = plt.subplots(len(panels), 1, sharex=True, figsize=(8, 9), layout="constrained")
    for axis, (title, names) in zip(axes, panels, strict=True):
        for name in names:
            axis.plot(minutes, [getattr(sample, name) for sample in samples], label=name, linewidth=1)
        for target, first, last in hostile:
            alpha = 0.18 if target == "service" else 0.06
            axis.axvspan(first / 60, last / 60, color="#d98c2b", alpha=alpha, linewidth=0)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        if len(names) > 1:
            axis.legend(fontsize=8, frameon=False, loc="lower right")
    axes[-1].set_xlabel("minutes")
    figure.savefig(image, dpi=110)
    plt.close(figure)

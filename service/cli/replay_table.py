"""What `nearnorm replay` found, as a person reads it."""

from nearnorm.service.retraining.rescoring.replay import AlertCounts, ReplayReport

MOST_LINES = 20
"""Flips that are told; --json and --out have more."""


def table(found: ReplayReport) -> str:
    lines = [f"version {found.version}: {found.rows:,} rows that were answered before"]
    if found.unfit:
        lines.append(f"{found.unfit:,} more it cannot read")
    lines += ["", f"{'alerts':<20}{'of':>12}{'before':>12}{'after':>12}{'up':>10}{'down':>10}"]
    for name, alerts in (
        ("traffic", found.traffic),
        ("confirmed anomalies", found.anomalies),
        ("confirmed normals", found.normals),
    ):
        lines.append(_line(name, alerts))
    if found.flips:
        better = sum(flip.is_better for flip in found.flips)
        counts = f"{better} to right, {len(found.flips) - better} to wrong"
        lines += ["", f"confirmed records whose verdict changes: {counts}"]
        for flip in found.flips[:MOST_LINES]:
            turn = "right" if flip.is_better else "WRONG"
            change = f"{flip.percentile_before:.2f} -> {flip.percentile_after:.2f}"
            lines.append(f"  {turn}  {flip.label:<8} {change:<18} {flip.event_id}")
        if len(found.flips) > MOST_LINES:
            lines.append(f"  and {len(found.flips) - MOST_LINES} more: --json or --out")
    return "\n".join(lines)


def _line(name: str, alerts: AlertCounts) -> str:
    changes = f"{alerts.up:>+10,}{-alerts.down:>+10,}"
    return f"{name:<20}{alerts.of:>12,}{alerts.before:>12,}{alerts.after:>12,}{changes}"

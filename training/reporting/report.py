"""What training found, for programs (report.json) and for people (report.html, one file)."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from nearnorm.models.bundle.manifest import DataFacts, Manifest, Reference
from nearnorm.models.conformal import DEFAULT_BUDGET, threshold
from nearnorm.models.data.clock import HOURS, with_hours
from nearnorm.models.data.schema import Kind
from nearnorm.training.evaluation.calibrate import Scored
from nearnorm.training.evaluation.held_out import Evidence
from nearnorm.training.reporting import plots

MAP_ROWS = 2_000
HEATMAP_FEATURES = 14
CARD_FACTS = 6


@dataclass(frozen=True)
class EmbeddedRows:
    """Some rows in the space of the prototypes: `rows` [N, E], `prototypes` [K, E], for each row its
    nearest prototype and whether it is a labelled anomaly."""

    rows: np.ndarray
    prototypes: np.ndarray
    nearest: np.ndarray
    anomalous: np.ndarray


@dataclass(frozen=True)
class Findings:
    """Everything the report tells. `numeric`, `codes` and `scored` are those of the reference rows."""

    manifest: Manifest
    evidence: Evidence
    history: dict[str, list[float]]
    choices: dict[str, object]
    warnings: tuple[str, ...]
    numeric: np.ndarray
    codes: np.ndarray
    scored: Scored
    embedded: EmbeddedRows
    seconds: dict[str, float]


def report_json(findings: Findings) -> dict[str, object]:
    """The figures, without the model: what a gate or a person compares between versions."""
    core = findings.manifest.core
    return {
        "version": findings.manifest.version,
        "headline": findings.evidence.headline,
        "metrics": findings.evidence.metrics,
        "measured": findings.evidence.how,
        "budget": DEFAULT_BUDGET,
        "fit_seconds": findings.manifest.fit_seconds,
        "seconds": findings.seconds,
        "rows": core.data.model_dump(exclude={"digest"}),
        "reference_rows": core.reference.rows,
        "reference_known_normal": core.reference.known_normal,
        "choices": findings.choices,
        "config": core.config,
        "seed": core.seed,
        "warnings": list(findings.warnings),
        "history": findings.history,
    }


def report_html(findings: Findings) -> str:
    """One self-contained page: plots are inline, nothing is fetched."""
    manifest, core = findings.manifest, findings.manifest.core
    template = Template((Path(__file__).with_name("report.html")).read_text(encoding="utf-8"))
    return template.substitute(
        version=manifest.version[:12],
        source=escape(_sources(manifest)),
        created=manifest.created_at,
        seed=core.seed,
        headline=escape(findings.evidence.headline),
        tiles=_tiles(findings),
        how=escape(findings.evidence.how),
        warnings=_warnings(findings),
        scores=_score_plots(findings),
        map=_map(findings.embedded),
        heatmap=_heatmap(findings),
        groups=_group_cards(findings),
        curves=plots.training_curves(findings.history),
        columns=_columns(findings),
        choices=_choices(findings),
    )


def _sources(manifest: Manifest) -> str:
    if manifest.reference_source is None:
        return manifest.source
    return f"{manifest.source}, calibrated by {manifest.reference_source} (known to be normal)"


def _tiles(findings: Findings) -> str:
    core, metrics = findings.manifest.core, findings.evidence.metrics
    facts = core.data
    tiles = [
        (
            "strangest records, that hold half of the anomalies",
            _percent(metrics["median_rarity"]),
            _between(metrics["median_rarity_low"], metrics["median_rarity_high"]),
        ),
        (
            f"of anomalies found at {DEFAULT_BUDGET:.0%}",
            _percent(metrics["recall_at_budget"]),
            _between(metrics["recall_at_budget_low"], metrics["recall_at_budget_high"]),
        ),
        *_wholly_labelled(metrics),
        (
            "rows",
            f"{facts.rows:,}",
            f"{_of_how_many(facts)}{core.reference.rows:,} {_reference(core.reference)}",
        ),
        (
            "labels",
            f"{facts.anomalies + facts.normals:,}",
            f"{facts.anomalies} anomalies, {facts.normals} normal",
        ),
        ("normal groups", str(core.prototypes), f"{len(core.features.scored)} features"),
        (
            "seconds to fit",
            f"{findings.manifest.fit_seconds:.1f}",
            f"{sum(findings.seconds.values()):.1f} in all",
        ),
    ]
    return "".join(
        f'<div class="tile"><b>{value}</b><span>{escape(name)}</span><small>{escape(note)}</small></div>'
        for name, value, note in tiles
    )


def _of_how_many(facts: DataFacts) -> str:
    if facts.drawn_from is None:
        return ""
    in_all = facts.rows - facts.unlabelled + facts.drawn_from
    return f"of {in_all:,} in all, unlabelled ones drawn; "


def _reference(reference: Reference) -> str:
    return "known to be normal, for calibration" if reference.known_normal else "held out for calibration"


def _wholly_labelled(metrics: dict[str, float | None]) -> list[tuple[str, str, str]]:
    """What only a wholly labelled file tells."""
    precision, prevalence = metrics["average_precision"], metrics["prevalence"]
    if precision is None or prevalence is None:
        return []
    alerts = _percent(metrics["false_alert_rate"])
    return [
        ("average precision", f"{precision:.3f}", f"guessing reaches {prevalence:.3f}"),
        ("of normal records alert", alerts, f"{DEFAULT_BUDGET:.0%} is the default budget"),
    ]


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.2g}%" if value < 0.1 else f"{value:.1%}"


def _between(low: float | None, high: float | None) -> str:
    return "too few labels" if low is None else f"between {_percent(low)} and {_percent(high)}"


def _warnings(findings: Findings) -> str:
    if not findings.warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in findings.warnings)
    return f'<div class="warnings"><ul>{items}</ul></div>'


def _score_plots(findings: Findings) -> str:
    evidence, scores = findings.evidence, findings.scored.score
    return plots.detection(
        scores,
        threshold(scores, DEFAULT_BUDGET),
        evidence.rank,
        evidence.truth,
        evidence.metrics["average_precision"],
    )


def _map(embedded: EmbeddedRows) -> str:
    return plots.embedding_map(embedded.rows, embedded.prototypes, embedded.nearest, embedded.anomalous)


def _positions(findings: Findings) -> np.ndarray:
    """[K, Dn]: the mean rank, among all reference rows, of a group's numeric values; NaN for none."""
    numeric = with_hours(findings.numeric, findings.manifest.core.features.times)
    nearest = findings.scored.prototype
    positions = np.full((findings.manifest.core.prototypes, numeric.shape[1]), np.nan)
    for j, column in enumerate(numeric.T):
        present = ~np.isnan(column)
        ordered = np.sort(column[present])
        if not len(ordered):
            continue
        rank = np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")
        for k in range(len(positions)):
            rows = present & (nearest == k)
            if rows.any():
                positions[k, j] = rank[rows].mean() / (2 * len(ordered))
    return positions


def _heatmap(findings: Findings) -> str:
    positions = _positions(findings)
    if not positions.size:
        return ""
    spread = np.nan_to_num(np.abs(positions - 0.5)).max(0)
    top = np.sort(np.argsort(-spread, kind="stable")[:HEATMAP_FEATURES])
    names = [findings.manifest.core.features.numeric[j].name for j in top]
    return plots.group_heatmap(names, positions[:, top], [g.share for g in findings.manifest.core.groups])


def _group_cards(findings: Findings) -> str:
    """For each group the facts that tell it from the others, strongest first."""
    core = findings.manifest.core
    positions = _positions(findings)
    overall = core.reference.categorical
    cards = []
    for group in core.groups:
        facts: list[tuple[float, str]] = []
        for j, feature in enumerate(core.features.numeric):
            profile = group.numeric[feature.name]
            if profile.median is not None and not np.isnan(positions[group.prototype, j]):
                shown = _range(profile.low, profile.median, profile.high, feature.kind)
                facts.append(
                    (2 * abs(positions[group.prototype, j] - 0.5), f"<i>{escape(feature.name)}</i> {shown}")
                )
        for feature in core.features.categorical:
            for category, share in group.categorical[feature.name].shares.items():
                lift = share - overall[feature.name].shares[feature.code_of[category]]
                shown = f"<i>{escape(feature.name)}</i> is <b>{escape(category)}</b> in {share:.0%}"
                facts.append((lift, shown))
        facts.sort(key=lambda fact: -fact[0])
        items = "".join(f"<li>{fact}</li>" for _, fact in facts[:CARD_FACTS])
        cards.append(
            f'<div class="group" style="--c:{plots.GROUPS[group.prototype % len(plots.GROUPS)]}">'
            f"<h3>Group {group.prototype}<span>{group.share:.1%} of ordinary rows</span></h3>"
            f"<ul>{items or '<li>no ordinary row is nearest to it</li>'}</ul></div>"
        )
    return "".join(cards)


def _range(low: float | None, median: float, high: float | None, kind: Kind) -> str:
    if kind is Kind.BOOLEAN:
        return f"is mostly <b>{'true' if median else 'false'}</b>"
    if kind is Kind.TIME:
        return "about <b>{}</b> ({} to {})".format(*(_clock(hour) for hour in (median, low, high)))
    if low is None or high is None or low == high:
        return f"is <b>{_number(median)}</b>"
    return f"about <b>{_number(median)}</b> ({_number(low)} to {_number(high)})"


def _clock(hour: float | None) -> str:
    minutes = round((hour or 0.0) * 60) % (60 * HOURS)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() or abs(value) >= 1_000 else f"{value:.4g}"


def _columns(findings: Findings) -> str:
    rows = []
    for feature in findings.manifest.core.features.features:
        note = feature.reason or (f"{len(feature.categories)} categories" if feature.categories else "")
        css = ' class="ignored"' if not feature.kind.scored else ""
        rows.append(
            f"<tr{css}><td>{escape(feature.name)}</td><td>{feature.kind}</td><td>{escape(note)}</td></tr>"
        )
    return "".join(rows)


def _choices(findings: Findings) -> str:
    return "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(_choice_text(value))}</td></tr>"
        for name, value in findings.choices.items()
    )


def _choice_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_choice_text(item)}" for key, item in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

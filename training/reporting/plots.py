"""The report's plots: each a function from arrays to an SVG text, drawn without a display."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
NORMAL, ANOMALY, ACCENT = "#4c78a8", "#d64545", "#f0a202"
GROUPS = (
    *("#4c78a8", "#54a24b", "#b279a2", "#72b7b2", "#9d755d"),
    *("#f58518", "#439894", "#83bcb6", "#79706e", "#d8b5a5"),
)
STYLE = {
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it is anyhow: to look for a place takes a third of a report's time
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "svg.hashsalt": "nearnorm",
    "svg.fonttype": "none",
}
MARGINS = {"left": 0.75, "right": 0.2, "bottom": 0.55, "top": 0.4}
"""Inches around panels whose labels are numbers: to measure all texts takes half of a report's time."""
GAP = 0.75
"""Inches between panels."""


def detection(
    reference: np.ndarray,
    threshold: float,
    rank: np.ndarray,
    truth: np.ndarray,
    average_precision: float | None,
) -> str:
    """Scores of held-out rows and the threshold; where anomalies are known that were not trained on, how
    rare they look (rank and truth [N]), and how many are found: beside precision where that is known, by the
    share of records that is looked at where it is not."""
    panels = 3 if truth.any() and not truth.all() else 1
    with _figure(4.4 if panels == 1 else 10.6, 3.3) as figure:
        axes = _panels(figure, panels)
        _score_histogram(axes[0], reference, threshold)
        if panels == 3:
            _rarity_histogram(axes[1], rank, truth)
            if average_precision is None:
                _found_by_effort(axes[2], rank[truth == 1])
            else:
                _precision_recall(axes[2], rank, truth, average_precision)
        return _svg(figure)


def embedding_map(
    embedded: np.ndarray, prototypes: np.ndarray, nearest: np.ndarray, anomalous: np.ndarray
) -> str:
    """Rows [N, E] and prototypes [K, E] on the two directions in which the rows vary most."""
    centre = embedded.mean(0)
    _, spread, directions = np.linalg.svd(embedded - centre, full_matrices=False)
    plane = directions[:2].T
    points, stars = (embedded - centre) @ plane, (prototypes - centre) @ plane
    if plane.shape[1] < 2:  # a one-dimensional embedding
        points, stars = (np.hstack([a, np.zeros_like(a)]) for a in (points, stars))
    explained = float((spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-12))
    size = float(np.clip(12_000 / len(points), 9, 30))
    with _figure(8.4, 4.8) as figure:
        axes = _panels(figure, 1)[0]
        for k in range(len(prototypes)):
            rows = points[(nearest == k) & ~anomalous]
            axes.scatter(
                rows[:, 0], rows[:, 1], s=size, color=_colour(k), alpha=0.5, linewidths=0, rasterized=True
            )
        axes.scatter(
            points[anomalous, 0],
            points[anomalous, 1],
            s=40,
            marker="X",
            color=ANOMALY,
            edgecolors="white",
            linewidths=0.6,
            label="labelled anomaly",
            zorder=3,
        )
        for k, star in enumerate(stars):
            axes.scatter(
                star[0], star[1], s=90, marker="D", color=_colour(k), edgecolors=INK, linewidths=1.4, zorder=4
            )
            label = axes.annotate(f"{k}", star, (9, 6), textcoords="offset points", weight="bold", zorder=5)
            label.set_path_effects([withStroke(linewidth=3, foreground="white")])
        _zoom(axes, np.vstack([points[~anomalous], stars]), points[anomalous])
        if anomalous.any():
            axes.legend(loc="best")
        axes.set(xlabel="first principal direction", ylabel="second principal direction")
        axes.set_title(f"{explained:.0%} of the spread is visible here")
        return _svg(figure)


def training_curves(history: dict[str, list[float]]) -> str:
    """One panel a stage, one line a loss, over epochs."""
    stages: dict[str, dict[str, list[float]]] = {}
    for name, values in history.items():
        stage, _, loss = name.partition(".")
        stages.setdefault(stage, {})[loss] = values
    with _figure(max(3.6 * len(stages), 5.0), 3.0) as figure:
        panels = _panels(figure, len(stages))
        for axes, (stage, losses) in zip(panels, stages.items(), strict=True):
            for i, (loss, values) in enumerate(losses.items()):
                epochs = np.arange(1, len(values) + 1)
                axes.plot(epochs, values, color=_colour(i), linewidth=2, marker="o", markersize=3, label=loss)
            axes.set(xlabel="epoch", title=stage.replace("_", " "), ylim=(0, None))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(fontsize=8)
        return _svg(figure)


def group_heatmap(names: list[str], positions: np.ndarray, shares: list[float]) -> str:
    """positions [K, F] in [0, 1]: where a group's typical value lies among all rows; NaN: no value."""
    groups, features = positions.shape
    longest = max(len(_short(name)) for name in names)
    with _figure(max(5.0, 1.8 + 0.62 * features), 1.5 + 0.42 * groups) as figure:
        axes = _panels(figure, 1, left=1.2, right=1.1, bottom=0.3 + 0.045 * longest)[0]
        image = axes.imshow(positions, cmap="RdBu_r", vmin=0, vmax=1, aspect="auto")
        axes.grid(visible=False)
        axes.set_xticks(range(features), [_short(n) for n in names], rotation=35, ha="right", color=INK)
        axes.set_yticks(range(groups), [f"group {k} ({s:.0%})" for k, s in enumerate(shares)], color=INK)
        axes.tick_params(length=0)
        beside = axes.inset_axes((1.02, 0.0, 0.02, 1.0))
        bar = figure.colorbar(image, cax=beside, ticks=[0, 0.5, 1])
        bar.ax.set_yticklabels(["lowest", "middle", "highest"])
        bar.outline.set_visible(False)
        return _svg(figure)


def method_dots(figures: dict[str, list[float]], title: str) -> str:
    """One row a method, best first: a dot for each split and a bar at their mean."""
    names = sorted(figures, key=lambda name: float(np.mean(figures[name])))
    with _figure(9.6, 0.9 + 0.42 * len(names)) as figure:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        for y, name in enumerate(names):
            colour = ACCENT if y == names.index("Nearnorm") else NORMAL
            mean = float(np.mean(figures[name]))
            axes.barh(y, mean, height=0.55, color=colour, alpha=0.35)
            axes.scatter(figures[name], [y] * len(figures[name]), s=26, color=colour, zorder=3)
            axes.text(mean + 0.01, y + 0.3, f"{mean:.3f}", va="center", fontsize=9)
        axes.set_yticks(range(len(names)), names, color=INK)
        axes.set(xlim=(0, 1.05), title=title)
        return _svg(figure)


def _score_histogram(axes: Axes, reference: np.ndarray, threshold: float) -> None:
    low, high = float(reference.min()), float(reference.max())
    axes.hist(reference, bins=np.linspace(low, max(high, low + 1e-6), 50).tolist(), color=NORMAL, alpha=0.85)
    axes.set_yscale("log")
    _plain_powers(axes.yaxis, "{:,.0f}".format)
    if np.isfinite(threshold):
        axes.axvline(threshold, color=ACCENT, linewidth=2)
        axes.text(
            threshold,
            0.97,
            " alerts at 1% ",
            color=ACCENT,
            va="top",
            weight="bold",
            ha="right" if threshold > (low + high) / 2 else "left",
            transform=axes.get_xaxis_transform(),
        )
    axes.set(xlabel="score", ylabel="rows", title="scores of held-out rows")


def _rarity_histogram(axes: Axes, rank: np.ndarray, truth: np.ndarray) -> None:
    rarity = np.maximum(1.0 - rank, 1e-6)
    bins = np.geomspace(max(rarity.min(), 1e-5), 1.0, 30).tolist()
    for value, colour, label in ((0, NORMAL, "other rows"), (1, ANOMALY, "anomalies")):
        rows = rarity[truth == value]
        axes.hist(
            rows, bins=bins, weights=np.full(len(rows), 1 / len(rows)), color=colour, alpha=0.7, label=label
        )
    axes.axvline(0.01, color=ACCENT, linewidth=2)
    axes.set_xscale("log")
    _plain_powers(axes.xaxis, _percent)
    axes.invert_xaxis()
    axes.legend(loc="upper center")
    axes.set(
        xlabel="share of ordinary traffic that looks as strange",
        ylabel="share of rows",
        title="how rare anomalies look",
    )


def _found_by_effort(axes: Axes, rank: np.ndarray) -> None:
    """The share of anomalies, by `rank` [N], that is found among so many of the strangest records."""
    effort = np.sort(1.0 - rank)
    found = np.arange(1, len(effort) + 1) / len(effort)
    effort, found = np.r_[effort[0], effort, 1.0], np.r_[0.0, found, 1.0]
    axes.fill_between(effort, found, step="post", color=ANOMALY, alpha=0.12, linewidth=0)
    axes.step(effort, found, where="post", color=ANOMALY, linewidth=2)
    axes.axvline(0.01, color=ACCENT, linewidth=2)
    axes.set_xscale("log")
    _plain_powers(axes.xaxis, _percent)
    axes.set(xlabel="share of records looked at, strangest first", ylabel="anomalies found", ylim=(0, 1.04))
    axes.set_title("how many are found")


def _precision_recall(axes: Axes, rank: np.ndarray, truth: np.ndarray, average_precision: float) -> None:
    from sklearn.metrics import precision_recall_curve  # a second, for those who have a labelled file

    precision, recall, _ = precision_recall_curve(truth, rank)
    axes.fill_between(recall, precision, step="post", color=ANOMALY, alpha=0.12, linewidth=0)
    axes.step(recall, precision, where="post", color=ANOMALY, linewidth=2)
    axes.axhline(truth.mean(), color=MUTED, linestyle=":", linewidth=1.5)
    guess = f"guessing {truth.mean():.3f}"
    axes.text(0.99, truth.mean() + 0.02, guess, color=MUTED, ha="right", va="bottom")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.04))
    axes.set_title(f"average precision {average_precision:.3f}")


def _plain_powers(axis: Axis, told: Callable[[float], str]) -> None:
    """Powers of ten as numbers, and no marks between them: as formulas among marks they take a third of a
    report's time."""
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: told(value)))


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _zoom(axes: Axes, body: np.ndarray, anomalies: np.ndarray) -> None:
    """Far rows must not squeeze the others into a dot: look at the middle 98% and at the anomalies."""
    low, high = np.quantile(body, [0.01, 0.99], axis=0)
    if len(anomalies):
        low = np.minimum(low, np.quantile(anomalies, 0.1, axis=0))
        high = np.maximum(high, np.quantile(anomalies, 0.9, axis=0))
    margin = 0.08 * (high - low) + 1e-6
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])


def _colour(k: int) -> str:
    return GROUPS[k % len(GROUPS)]


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with rc_context(STYLE):  # type: ignore[arg-type]
        yield Figure(figsize=(width, height))


def _panels(figure: Figure, count: int, **margins: float) -> list[Axes]:
    """Side by side, with room for numbers along them; `margins` in inches where it takes more."""
    width, height = figure.get_size_inches()
    room = {**MARGINS, **margins}
    panel = (width - room["left"] - room["right"] - GAP * (count - 1)) / count
    grid = figure.add_gridspec(
        1,
        count,
        left=room["left"] / width,
        right=1.0 - room["right"] / width,
        bottom=room["bottom"] / height,
        top=1.0 - room["top"] / height,
        wspace=GAP / panel,
    )
    return [figure.add_subplot(grid[0, place]) for place in range(count)]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

"""The picture that a story ends in: what each model found, round by round."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from examples.rounds import FIRST, FOREST, SERVED, Round

COLOURS = {SERVED: "#4c78a8", FIRST: "#f0a202", FOREST: "#7b8794"}
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "nearnorm",
}


def draw(rounds: Sequence[Round], title: str, what: str, out: Path) -> None:
    """Two panels: the share of anomalies found by equally many alerts, and the average precision."""
    names = [f"{one.name}\n{one.alerts} alerts,\n{one.anomalies} {what}" for one in rounds]
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        width = 0.8 / len(COLOURS)
        for number, (model, colour) in enumerate(COLOURS.items()):
            places = [place + (number - 1) * width for place in range(len(rounds))]
            shares = [one.found[model] / max(1, one.anomalies) for one in rounds]
            bars = left.bar(places, shares, width, color=colour, label=model)
            left.bar_label(bars, [str(one.found[model]) for one in rounds], fontsize=8)
            right.plot([one.precision[model] for one in rounds], "o-", color=colour, label=model)
        left.set_title(f"{title}: found by equally many alerts")
        left.set_ylabel(f"share of the {what}")
        right.set_title("Average precision")
        for axes in (left, right):
            axes.set_xticks(range(len(rounds)), names, fontsize=8)
            axes.set_ylim(0, 1.05)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(COLOURS))
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, metadata={"Date": None})

"""Figures as people read them."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from nearnorm.service.feedback.queue import Why
from nearnorm.service.verdict.groups import clock

WHY: Final[Mapping[Why, str]] = {
    "second_opinion": "A label that contradicts the model: do you agree?",
    "reference": "Among the strangest rows that percentiles are measured by",
    "top": "Among the strangest that nobody has judged",
    "uncertain": "Near the threshold: your verdict moves it",
    "audit": "Drawn at random, to see what is missed",
}
WHY_SHORT: Final[Mapping[Why, str]] = {
    "second_opinion": "second opinion",
    "reference": "reference",
    "top": "strangest",
    "uncertain": "near threshold",
    "audit": "random",
}


_LONGEST = 2_000  # characters of a text that are shown
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_MOST_MARKS = 4  # upon one letter; more would be drawn over the lines around it


def text(value: str) -> str:
    """A caller's text: what nobody sees, or turns the rest around, by its number; cut where it is long."""
    shown = _UNSEEN.sub(lambda found: _by_number(found[0]), value[:_LONGEST])
    if not shown.isascii():
        shown = "".join(_unpiled(shown))
    more = len(value) - _LONGEST
    return f"{shown}… ({more:,} more characters)" if more > 0 else shown


def _unpiled(shown: str) -> Iterator[str]:
    piled = 0
    for one in shown:
        piled = piled + 1 if unicodedata.category(one) in ("Mn", "Me") else 0
        yield one if piled <= _MOST_MARKS else _by_number(one)


def _by_number(one: str) -> str:
    return f"[U+{ord(one):04X}]"


def number(value: float) -> str:
    """Six figures at most, thousands apart; very small and very large ones by a power of ten."""
    if not math.isfinite(value):
        return "none"
    if value == 0 or 1e-4 <= abs(value) < 1e15:
        shown = f"{value:,.{max(0, 5 - _magnitude(value))}f}" if value else "0"
        return shown.rstrip("0").rstrip(".") if "." in shown else shown
    return f"{value:.4g}"


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def score(value: float) -> str:
    """Three figures: a model's own scale."""
    return f"{value:.3g}"


def value_of(value: Any) -> str:  # noqa: ANN401 - whatever a record holds
    """A record's value. What is missing is said to be."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return number(value)
    return text(str(value))


def share(value: float) -> str:
    """A part of one, in percent."""
    return f"{number(round(100 * value, 2))}%"


def percentile(value: float) -> str:
    """As fine as it is told, and never 100% by rounding."""
    return f"{math.floor(value * 100) / 100:.2f}%"


def expected(profile: Mapping[str, Any], of_hours: bool = False) -> str:
    """What a group has of a feature; of a time its range is one `of_hours`."""
    if "shares" in profile:
        shares = profile["shares"]
        return ", ".join(f"{text(name)} {share(part)}" for name, part in shares.items()) or "no value"
    if profile.get("median") is None:
        return "no value"
    if of_hours:
        low, high, median = (clock(profile[name]) for name in ("low", "high", "median"))
        return f"hours from {low} to {high}, mostly {median}"
    return f"{number(profile['low'])} to {number(profile['high'])}, mostly {number(profile['median'])}"


def day_and_time(iso: str) -> str:
    """A time as it is stored, to the second."""
    return f"{iso[:10]} {iso[11:19]} UTC"


_STATES: Final[Mapping[str, str]] = {
    "queued": "waiting",
    "running": "running",
    "refused": "refused, today's model stays",
    "failed": "failed, today's model stays",
    "cancelled": "cancelled",
}
_RECEIPTS: Final[Mapping[str, str]] = {
    "waiting": "counts, and waits for the next retraining",
    "learned": "learnt",
    "second_opinion": "waits for a second opinion",
    "superseded": "you said something newer",
    "retracted": "taken back",
    "quarantined": "in quarantine, and does not count",
    "erased": "erased",
}
_WATCHES: Final[Mapping[str, str]] = {
    "watching": "It is compared with the version before it",
    "kept": "It did as well as the version before it",
    "worse": "It does worse than the version before it",
    "rolled_back": "It was rolled back",
    "failed": "It could not be compared",
}


def state(job: Mapping[str, Any]) -> str:
    """How a job stands, or ended."""
    if job["state"] == "succeeded":
        return (
            "accepted, and put into service" if job.get("activated") else "accepted, and waits for a person"
        )
    return _STATES[job["state"]]


def count(value: float) -> str:
    """A number of things: whole, but for a few of them, which have two figures."""
    return number(round(value)) if value >= 10 else number(float(f"{value:.2g}"))


def things(shown: str, one: str, many: str = "") -> str:
    """A number as it is shown, with what there is so much of: 1 verdict, 2 verdicts."""
    return f"{shown} {one if shown == '1' else many or one + 's'}"


def promised(promise: Mapping[str, Any]) -> str:
    """What a budget promises, and what stands behind it."""
    if "alerts_a_day" in promise:
        return f"{things(number(promise['alerts_a_day']), 'alert')} a day, as {promise['as']}"
    if "share_of_traffic" in promise:
        return f"{share(promise['share_of_traffic'])} of all traffic"
    if "precision" in promise:
        sure = share(promise["confidence"])
        return f"{share(promise['precision'])} of the alerts right, with {sure} confidence"
    behind = {
        "reviewed": "{} of its strangest rows are reviewed",
        "labelled_alerts": "what is normal is told by verdicts on alerts ({})",
        "assumes": "assuming {}",
        "reference": "measured by {}",
    }
    known = [words.format(promise[name]) for name, words in behind.items() if name in promise]
    return "; ".join([f"{share(promise['share_of_normal'])} of normal traffic is flagged", *known])


FILTERS: dict[str, Callable[..., str]] = {
    "text": text,
    "number": number,
    "score": score,
    "value": value_of,
    "share": share,
    "percentile": percentile,
    "expected": expected,
    "time": day_and_time,
    "count": count,
    "things": things,
    "promised": promised,
    "state": state,
    "receipt": lambda status: _RECEIPTS.get(status, status),
    "watch": lambda outcome: _WATCHES.get(outcome, outcome),
}

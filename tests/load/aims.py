"""The figures that the service is to reach, beside what was seen."""

from collections.abc import Sequence

from tests.load.closed import PARTS, RIVALS, Found, ratio
from tests.load.curve import Point
from tests.load.loads import ALONE, MANY, ONE, SOME
from tests.load.servers import Server


def aims(found: Found, points: Sequence[Point], ours: Server) -> str:
    """A table. A dash stands where the other side was not measured."""
    one, some, lone = (found.of(size, "nearnorm") for size in (ONE, SOME, ALONE))
    many = {form: found.of(MANY, "nearnorm", form) for form in ("records", "columns", "arrow")}
    best = found.best(MANY, RIVALS)
    half = [p.p99 for p in points if p.server == "nearnorm" and p.part == 0.5]
    rows = [
        ("1 row: of the empty app", ">= 0.6", ratio(one, found.of(ONE, "empty"))),
        ("1 row: of the tutorial app", ">= 5", ratio(one, found.of(ONE, "tutorial"))),
        ("1 row: of MLServer", ">= 10", ratio(one, found.of(ONE, "mlserver"))),
        ("1 row: of KServe", "", ratio(one, found.of(ONE, "kserve"))),
        ("1 row: of the plain route", "", ratio(one, found.of(ONE, "route"))),
        ("1 row: p99 of the empty app's", "< 2", ratio(one, found.of(ONE, "empty"), "p99")),
        ("1 row, open loop at 50%: p99 ms", "< 5", half[0] if half else float("nan")),
        (
            "1 connection: p50 of the tutorial app's",
            "< 0.5",
            ratio(lone, found.of(ALONE, "tutorial"), "p50"),
        ),
        ("32 rows: of the best other", ">= 4", ratio(some, found.best(SOME, RIVALS))),
        ("32 rows: of its parts alone", ">= 0.7", ratio(some, found.of(SOME, PARTS))),
        *(
            (f"1,000 rows, {form}: of the best other", aim, ratio(many[form], best))
            for form, aim in (("records", ">= 1.2"), ("columns", ">= 3"), ("arrow", ">= 6"))
        ),
        *(
            (
                f"1,000 rows, {form}: of its parts alone",
                ">= 0.7",
                ratio(many[form], found.of(MANY, PARTS, form)),
            )
            for form in ("records", "columns")
        ),
        ("start to first answer, s", "< 1", ours.seconds_to_start),
        ("RSS after the start, MB", "< 150", ours.rss_at_start),
    ]
    lines = ["| figure | aim | seen | |", "|---|---|---|---|"]
    for name, aim, seen in rows:
        lines.append(f"| {name} | {aim} | {seen:.2f} | {_met(aim, seen)} |")
    return "\n".join(lines).replace("nan", "-")


def _met(aim: str, seen: float) -> str:
    if not aim or seen != seen:
        return ""
    sign, bound = aim.split()
    return "met" if (seen >= float(bound) if sign == ">=" else seen < float(bound)) else "missed"

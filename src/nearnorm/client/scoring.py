"""Scoring, in as many requests as the service's limits ask for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx

from nearnorm.client import scores
from nearnorm.client.frames import ARROW, Data, rows_of
from nearnorm.client.problems import TooLargeError
from nearnorm.client.scores import AnswerPart, ScoreTable
from nearnorm.client.steps import Call, Steps, decoded, send

MOST_ROWS = 10_000
"""Of a request, by default (NEARNORM_MAX_ROWS)."""
MOST_CELLS = 1_000_000
MOST_BYTES = 32 * 2**20
"""Of a body, by default (NEARNORM_MAX_BODY_BYTES)."""


def score(
    data: Data,
    *,
    model: str = "default",
    ids: Sequence[str | int] | None = None,
    explain: bool = False,
    strict: bool = False,
) -> Steps[ScoreTable]:
    """Scores for records: a list of dicts, a dict of columns, or a table of pandas, polars or Arrow.

    They go in as many requests as the service's limits ask for, one after the other. NaN, None and their like
    are missing values. `ids` are echoed, one a row; `explain` asks for reasons (of the 256 highest rows of
    each request); `strict` makes a field that the model does not know an error of its row.

    A row with a mistake has an `error`, and the others are scored. Raises RequestError; TypeError and
    ValueError for data that cannot be sent.
    """
    asked: dict[str, Any] = {"model": model}
    if explain:
        asked["explain"] = True
    if strict:
        asked["strict"] = True
    if ids is not None:
        asked["ids"] = _as_list(ids)
    rows = rows_of(data, asked, is_bare=len(asked) == 1)
    if ids is not None and len(asked["ids"]) != rows.count:
        raise ValueError(f"ids: {len(asked['ids'])} for {rows.count} rows")
    found: list[AnswerPart] = []
    most = max(1, min(MOST_ROWS, MOST_CELLS // max(1, rows.cells)))
    start = 0
    while start < rows.count or not found:  # of no rows the service says what it thinks
        stop = min(start + most, rows.count)
        body, content = rows.body(start, stop)
        try:
            if len(body) > MOST_BYTES and stop - start > 1:
                most = (stop - start) // 2
                continue
            response = yield Call(
                "POST",
                "/score",
                {"model": model} if content == ARROW else {},
                body,
                {"Content-Type": content},
                repeatable=True,
            )
        except TooLargeError:  # of a lower limit, which the service alone knows
            if stop - start <= 1:
                raise
            most = (stop - start) // 2
            continue
        found.append(_read(response))
        start = stop
    return ScoreTable(found)


def aggregates(
    records: Iterable[Mapping[str, object]], *, model: str = "default", count: bool = True
) -> Steps[list[dict[str, float | None]]]:
    """What the model counts over windows for each of up to 1,000 records, to be put into it before `score`.

    Each is counted, too, once by its id and time however often it is sent; `count=False` only looks.
    Raises InvalidRequestError, with the field of the record that cannot be counted; RequestError.
    """
    document = {"model": model, "records": [dict(record) for record in records], "count": count}
    answer = yield from send("POST", "/aggregates", document, repeatable=True)
    found: list[dict[str, float | None]] = answer["results"]
    return found


def _read(response: httpx.Response) -> AnswerPart:
    if response.headers.get("content-type") == ARROW:
        return scores.of_arrow(response.content)
    return scores.of_json(decoded(response))


def _as_list(ids: Iterable[str | int]) -> list[str | int]:
    method = getattr(ids, "tolist", None) or getattr(ids, "to_list", None)  # of pandas, polars
    found: list[str | int] = list(ids) if method is None else method()
    return found

"""What an operation of the client does, one step at a time, without doing any of it.

An operation is a generator: it yields a call and is sent the answer. Client and AsyncClient both drive the
same ones, one by waiting, the other by awaiting.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import httpx

from nearnorm.client.json_body import encoded
from nearnorm.client.problems import unexpected

T = TypeVar("T")
Item = TypeVar("Item")
Query: TypeAlias = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `repeatable`: sent twice it does no more than once, so it is sent again where its answer
    was lost. `answers`: statuses that are an answer besides 2xx."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    answers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items that were found, for whoever iterates."""

    items: Sequence[Item]


Steps: TypeAlias = Generator[Call | Pause, Any, T]
"""Ends with an answer."""
Listing: TypeAlias = Generator[Call | Pause | Page[Item], Any, None]
"""Finds items on its way."""
Outcome: TypeAlias = httpx.Response | httpx.TransportError | None
"""What came of a call; None of anything else."""


class Run(Generic[T]):
    """An operation on its way; `result` once it has ended."""

    result: T

    def __init__(self, steps: Generator[Any, Any, T]) -> None:
        self._steps = steps

    def step(self, outcome: Outcome) -> Any:  # noqa: ANN401 - what the generator yields
        """The next step, given what came of the last; None at the end. Raises what the operation does."""
        try:
            if isinstance(outcome, Exception):
                return self._steps.throw(outcome)
            return self._steps.send(outcome)
        except StopIteration as end:
            self.result = end.value
            return None


def get(path: str, query: Query | None = None, answers: tuple[int, ...] = ()) -> Steps[Any]:
    """The JSON that a path answers."""
    response: httpx.Response = yield Call("GET", path, query or {}, repeatable=True, answers=answers)
    return decoded(response)


def send(
    method: str,
    path: str,
    document: Mapping[str, Any] | None = None,
    *,
    repeatable: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Steps[Any]:
    """The JSON that is answered to a document, of which fields that are None are left out."""
    body = None
    if document is not None:
        body = encoded({name: value for name, value in document.items() if value is not None})
    sent = {"Content-Type": "application/json", **(headers or {})} if body else headers or {}
    response: httpx.Response = yield Call(method, path, {}, body, sent, repeatable)
    return decoded(response)


def pages(path: str, key: str, query: Query, limit: int | None, most: int) -> Listing[Any]:
    """The items under `key` of a list's pages of up to `most`, a page when it is needed; `limit` in all."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = most if left is None else min(left, most)
        found = yield from get(path, {**query, "limit": size, "cursor": cursor})
        items, cursor = found[key], found.get("next")
        yield Page(items)
        left = None if left is None else left - len(items)
        if cursor is None:
            return


def decoded(response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    """Raises UnexpectedAnswerError."""
    try:
        return response.json()
    except ValueError:
        raise unexpected(response) from None


def within(path: str, name: str) -> str:
    """The path of one thing by its name: `/jobs` and an id."""
    if not name or name in (".", ".."):
        raise ValueError(f"{path}: {name!r} is no name")
    return f"{path}/{quote(name, safe='')}"

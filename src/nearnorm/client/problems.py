"""What a call to the service can end with instead of an answer.

RequestError
├── UnreachableError           nothing answered: no connection, or none that lasted (`__cause__` says more)
├── UnexpectedAnswerError      what answered is not the service: a page of a proxy, a redirect
└── ProblemError               the service says what is wrong (RFC 9457)
    ├── InvalidRequestError    400, 415, 422  mend `field`, or the items that `errors` names
    ├── UnauthorizedError      401  send a valid API key
    ├── ForbiddenError         403  the key lacks the role
    ├── NotFoundError          404
    ├── ConflictError          409  it does not go with what is there
    ├── TooLargeError          413  send less at once
    ├── LimitError             429  wait `retry_after` seconds: the queue is full, or the key's limit reached
    └── UnavailableError       5xx  the service cannot answer now
"""

from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx

from nearnorm.client.answers import ItemError

_LONGEST_QUOTE = 200  # characters of an answer that is no problem
_PROBLEM = "application/problem+json"


class RequestError(Exception):
    """The message says what is wrong and the mend, in one line. No API key is ever in it.

    `idempotency_key`: of labels, to send them again with; they are stored once, whatever became of this try.
    """

    idempotency_key: str | None = None

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class UnreachableError(RequestError): ...


class UnexpectedAnswerError(RequestError): ...


class ProblemError(RequestError):
    """`type` is stable, and so is `name`, which is its last part: "too-many-rows"; docs/api.md lists them.

    `title`, `detail`: what is wrong, and the mend; `field`: where. `errors` are those of single items, each
    with its `index`; `by_index` finds them. `retry_after`: seconds to wait, where the service says so.
    """

    def __init__(self, status: int, document: dict[str, Any], retry_after: float | None) -> None:
        self._document = document
        self.status = status
        self.type = str(document.get("type", "about:blank"))
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.field: str | None = document.get("field")
        self.errors: list[ItemError] = document.get("errors") or []
        self.retry_after = retry_after
        items = "; ".join(f"{error.get('index')}: {error.get('detail')}" for error in self.errors[:3])
        more = f"; and {len(self.errors) - 3} more" if len(self.errors) > 3 else ""
        super().__init__(f"{self.title}: {self.detail}{f' ({items}{more})' if items else ''}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self._document, self.retry_after)

    @property
    def name(self) -> str:
        return self.type.rpartition(":")[2]

    @property
    def by_index(self) -> dict[int, ItemError]:
        """Errors of single items by the place of the item in what was sent."""
        return {error["index"]: error for error in self.errors if "index" in error}


class InvalidRequestError(ProblemError): ...


class UnauthorizedError(ProblemError): ...


class ForbiddenError(ProblemError): ...


class NotFoundError(ProblemError): ...


class ConflictError(ProblemError): ...


class TooLargeError(ProblemError): ...


class LimitError(ProblemError): ...


class UnavailableError(ProblemError): ...


_KINDS: dict[int, type[ProblemError]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: LimitError,
}


def error_of(response: httpx.Response) -> RequestError:
    """The exception for an answer that is no success."""
    status = response.status_code
    kind = _KINDS.get(status, UnavailableError if status >= 500 else ProblemError)
    document = _problem_of(response)
    if document is None:
        if status != 429 and status not in (502, 503, 504):  # these are also said by what stands between
            return unexpected(response)
        said = response.text[:_LONGEST_QUOTE]
        document = {"title": response.reason_phrase or str(status), "detail": said or "no more was said"}
    return kind(status, document, _retry_after(response))


def unexpected(response: httpx.Response) -> UnexpectedAnswerError:
    """For an answer that the service does not give."""
    url = response.request.url
    what = f"{response.request.method} {url.path} answered"
    if response.has_redirect_location:  # not followed: the key is for one host alone
        other = url.join(response.headers["location"])
        place = f"{other.scheme}://{other.netloc.decode('ascii')}{other.path}"
        return UnexpectedAnswerError(f"{what} a redirect to {place}: give the service's own address as `url`")
    kind = response.headers.get("content-type", "nothing")
    return UnexpectedAnswerError(
        f"{what} {kind} with status {response.status_code}, as the service does not: look at `url`"
    )


def _problem_of(response: httpx.Response) -> dict[str, Any] | None:
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() != _PROBLEM:
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; the header has them, or a date."""
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time())
    except ValueError:
        return None

"""Calls that are sent again: when nothing answered, and when the service asks for a moment."""

from collections.abc import Generator
from itertools import count
from random import uniform
from time import monotonic
from typing import Any, TypeVar

import httpx

from nearnorm.client.problems import RequestError, UnreachableError, error_of
from nearnorm.client.steps import Call, Pause

T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_SPREAD = 0.25
"""Beyond what was asked for, so that those who were sent away together do not come back together."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_DONE = 429
_PASSING = (408, 502, 503, 504)
"""What may be over in a moment; part of it may have been done, so only what is repeatable is sent again."""


def patiently(steps: Generator[Any, Any, T], patience: float) -> Generator[Any, Any, T]:
    """The same operation, each of its calls sent again as far as that is safe.

    No try begins more than `patience` seconds after a call's first. The operation gets a success, or is
    thrown a RequestError.
    """
    answer, error = None, None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        answer, error = None, None  # a new step
        if not isinstance(step, Call):
            yield step
            continue
        try:
            answer = yield from _answered(step, patience)
        except RequestError as failed:
            error = failed


def _answered(call: Call, patience: float) -> Generator[Any, Any, httpx.Response]:
    """Raises RequestError."""
    end = monotonic() + patience
    for tries in count(1):
        failed: RequestError
        try:
            response: httpx.Response = yield call
        except httpx.TransportError as error:
            failed, wait = _unreachable(call, error, tries), _backoff(tries)
            again = _is_passing(error) and (call.repeatable or isinstance(error, _NOT_SENT))
            cause: Exception | None = error
        else:
            if response.is_success or response.status_code in call.answers:
                return response
            failed, cause = error_of(response), None
            asked: float | None = getattr(failed, "retry_after", None)
            wait = _backoff(tries) if asked is None else asked
            status = response.status_code
            again = status == _NOT_DONE or (call.repeatable and status in _PASSING)
        if not again or monotonic() + wait > end:
            raise failed from cause
        yield Pause(wait * uniform(1, 1 + _SPREAD))  # noqa: S311 - no secret
    raise AssertionError("a call is tried until something comes of it")


def _backoff(tries: int) -> float:
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(tries - 1, 10))


def _is_passing(error: httpx.TransportError) -> bool:
    """A certificate that does not fit, or what is no HTTP at all, is there the next time too."""
    permanent = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return not isinstance(error, permanent) and "CERTIFICATE_VERIFY_FAILED" not in str(error)


def _unreachable(call: Call, error: httpx.TransportError, tries: int) -> UnreachableError:
    url = error.request.url
    where = f"{url.scheme}://{url.netloc.decode('ascii')}"
    times = "" if tries == 1 else f" in {tries} tries"
    why = str(error) or type(error).__name__
    done = "" if isinstance(error, _NOT_SENT) else "; it may have been done"
    return UnreachableError(f"{call.method} {call.path}: no answer from {where}{times}: {why}{done}")

"""Client and AsyncClient: the same operations, one waits for each and the other awaits it."""

import asyncio
import inspect
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from nearnorm.client import feedback, operations, retraining, review, scoring
from nearnorm.client.address import options
from nearnorm.client.retries import patiently
from nearnorm.client.steps import Call, Listing, Outcome, Page, Pause, Run, Steps

P = ParamSpec("P")
T = TypeVar("T")
TIMEOUT, PATIENCE = 30.0, 20.0


def _waits(operation: Callable[P, Steps[T]]) -> Callable[Concatenate["Client", P], T]:
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        run = Run(patiently(operation(*args, **kwargs), self.patience))
        outcome: Outcome = None
        while (step := run.step(outcome)) is not None:
            outcome = self._perform(step)
        return run.result

    return _named(method, operation)


def _iterates(operation: Callable[P, Listing[T]]) -> Callable[Concatenate["Client", P], Iterator[T]]:
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        run = Run(patiently(operation(*args, **kwargs), self.patience))
        outcome: Outcome = None
        while (step := run.step(outcome)) is not None:
            outcome = None
            if isinstance(step, Page):
                yield from step.items
            else:
                outcome = self._perform(step)

    return _named(method, operation)


def _awaits(
    operation: Callable[P, Steps[T]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        run = Run(patiently(operation(*args, **kwargs), self.patience))
        outcome: Outcome = None
        while (step := run.step(outcome)) is not None:
            outcome = await self._perform(step)
        return run.result

    return _named(method, operation)


def _aiterates(
    operation: Callable[P, Listing[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[T]]:
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        run = Run(patiently(operation(*args, **kwargs), self.patience))
        outcome: Outcome = None
        while (step := run.step(outcome)) is not None:
            outcome = None
            if isinstance(step, Page):
                for item in step.items:
                    yield item
            else:
                outcome = await self._perform(step)

    return _named(method, operation)


M = TypeVar("M", bound=Callable[..., Any])


def _named(method: M, operation: Callable[..., Any]) -> M:
    """With the operation's name and words, and its signature after `self`: for help() and editors."""
    update_wrapper(method, operation)
    signature = inspect.signature(operation)
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [self, *signature.parameters.values()]
    method.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return method


class Client:
    """Calls a Nearnorm service, and waits for what it answers.

    `url` is the service's address (or NEARNORM_URL; by default http://127.0.0.1:8000), `api_key` its key (or
    NEARNORM_API_KEY), which goes to this address alone. `timeout`: seconds that a connection, or the next
    piece of an answer, may take. `patience`: seconds in which a call is tried again where nothing answered,
    or where the service asks to wait; 0 tries once. `verify` is httpx's: an SSLContext for a certificate
    authority of one's own.

    Use it as a context manager, or `close` it. One client may be used by several threads.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        patience: float = PATIENCE,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.patience = patience
        self._http = httpx.Client(**options(url, api_key, timeout), verify=verify)

    score = _waits(scoring.score)
    aggregates = _waits(scoring.aggregates)
    label = _waits(feedback.label)
    label_group = _waits(feedback.label_group)
    retract_group = _waits(feedback.retract_group)
    preview = _waits(feedback.preview)
    receipt = _waits(feedback.receipt)
    receipts = _iterates(feedback.receipts)
    queue = _iterates(review.queue)
    groups = _waits(review.groups)
    claim = _waits(review.claim)
    claims = _iterates(review.claims)
    release = _waits(review.release)
    skip = _waits(review.skip)
    event = _waits(review.event)
    alerts = _iterates(review.alerts)
    findings = _iterates(review.findings)
    policy = _waits(operations.policy)
    set_policy = _waits(operations.set_policy)
    undo_policy = _waits(operations.undo_policy)
    retrain = _waits(retraining.retrain)
    job = _waits(retraining.job)
    jobs = _iterates(retraining.jobs)
    wait = _waits(retraining.wait)
    watch = _iterates(retraining.watch)
    cancel = _waits(retraining.cancel)
    models = _iterates(operations.models)
    manifest = _waits(operations.manifest)
    activate = _waits(operations.activate)
    rollback = _waits(operations.rollback)
    drift = _waits(operations.drift)
    ready = _waits(operations.ready)
    audit = _iterates(operations.audit)
    request = _waits(operations.request)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"Client({str(self._http.base_url)!r})"

    def _perform(self, step: Call | Pause) -> Outcome:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.send(_request(self._http, step))
        except httpx.TransportError as error:
            return error


class AsyncClient:
    """Calls a Nearnorm service from asyncio: Client's methods, awaited, or iterated over by `async for`.

    Its arguments are Client's.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        patience: float = PATIENCE,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.patience = patience
        self._http = httpx.AsyncClient(**options(url, api_key, timeout), verify=verify)

    score = _awaits(scoring.score)
    aggregates = _awaits(scoring.aggregates)
    label = _awaits(feedback.label)
    label_group = _awaits(feedback.label_group)
    retract_group = _awaits(feedback.retract_group)
    preview = _awaits(feedback.preview)
    receipt = _awaits(feedback.receipt)
    receipts = _aiterates(feedback.receipts)
    queue = _aiterates(review.queue)
    groups = _awaits(review.groups)
    claim = _awaits(review.claim)
    claims = _aiterates(review.claims)
    release = _awaits(review.release)
    skip = _awaits(review.skip)
    event = _awaits(review.event)
    alerts = _aiterates(review.alerts)
    findings = _aiterates(review.findings)
    policy = _awaits(operations.policy)
    set_policy = _awaits(operations.set_policy)
    undo_policy = _awaits(operations.undo_policy)
    retrain = _awaits(retraining.retrain)
    job = _awaits(retraining.job)
    jobs = _aiterates(retraining.jobs)
    wait = _awaits(retraining.wait)
    watch = _aiterates(retraining.watch)
    cancel = _awaits(retraining.cancel)
    models = _aiterates(operations.models)
    manifest = _awaits(operations.manifest)
    activate = _awaits(operations.activate)
    rollback = _awaits(operations.rollback)
    drift = _awaits(operations.drift)
    ready = _awaits(operations.ready)
    audit = _aiterates(operations.audit)
    request = _awaits(operations.request)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._http.base_url)!r})"

    async def _perform(self, step: Call | Pause) -> Outcome:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._http.send(_request(self._http, step))
        except httpx.TransportError as error:
            return error


def _request(http: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
    query = {name: value for name, value in call.query.items() if value is not None}
    return http.build_request(
        call.method, call.path, params=query or None, content=call.body, headers=dict(call.headers)
    )

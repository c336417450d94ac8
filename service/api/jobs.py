"""Retraining jobs: asked for, watched, cancelled."""

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    body_of,
    check_model,
    described,
    lines_of,
    needs,
    read,
    services_of,
)
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables import job_flips, jobs
from nearnorm.service.ledger.tables.jobs import ENDED
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.job_watch import JobWatch, JobWatcher

router = APIRouter(prefix="/jobs", tags=["retraining"])

SILENT_SECONDS = 15.0
"""Without a change a comment is sent: what stands between cuts connections that are silent for a minute."""
Job = dict[str, Any]
"""A job as the API shows it."""


class JobRequest(msgspec.Struct, forbid_unknown_fields=True):
    model: str = "default"


class JobPage(BaseModel):
    """Newest first; `next` is the cursor of the page after this one."""

    jobs: list[Job]
    next: str | None = None


@router.get("", response_model_exclude_none=True)
async def list_jobs(
    request: Request,
    _: Annotated[Caller, needs(None)],
    model: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: str | None = None,
) -> JobPage:
    """Retraining jobs, newest first."""
    return await newest(request, model, limit, cursor)


async def newest(request: Request, model: str | None, limit: int, cursor: str | None) -> JobPage:
    lines = lines_of(request)

    def read(connection: Any) -> list[Job]:  # noqa: ANN401 - a connection; routes know no SQL
        found = jobs.newest(connection, limit + 1, cursor, model, lines)
        return [requests.as_dict(connection, job) for job in found]

    found = await services_of(request).ledger.seen(read)
    more = len(found) > limit
    return JobPage(jobs=found[:limit], next=found[limit - 1]["job_id"] if more else None)


@router.post("", status_code=202, openapi_extra=described(JobRequest))
async def post_job(request: Request, response: Response, caller: Annotated[Caller, needs("operate")]) -> Job:
    """Retrain now, with the labels there are. Where a job waits already, it is that one."""
    job = await asked(request, caller, read(await body_of(request), JobRequest))
    response.headers["Location"] = f"/jobs/{job['job_id']}"
    return job


async def asked(request: Request, caller: Caller, sent: JobRequest) -> Job:
    """The job that waits from now on. Raises UnknownModel."""
    services = services_of(request)
    check_model(request, sent.model)
    return await services.ledger.written(
        lambda c: requests.as_dict(c, requests.request(c, sent.model, services.rule, caller.name))
    )


@router.get("/{job_id}")
async def get_job(request: Request, job_id: str, _: Annotated[Caller, needs(None)]) -> Job:
    """Where a job stands: stage, progress, what it waits for, the gate's reasons and the log's tail."""
    return await job_of(request, job_id)


class FlipItem(BaseModel):
    """An event whose verdict would change; percentiles are 0 to 100, verdicts the score's alone."""

    event_id: str
    percentile_before: float
    percentile_after: float
    anomaly_before: bool
    anomaly_after: bool


class FlipAlerts(BaseModel):
    """Of the traffic that the events stand for; `gained` and `lost` are one side's alone."""

    champion: int
    challenger: int
    gained: int
    lost: int


class FlipPage(BaseModel):
    """The strongest changes first, 100 at most of `flipped`. `missing`: why nothing was compared (yet)."""

    job_id: str
    since: str | None = None
    events: int = 0
    events_unfit: int = 0
    rows: int = 0
    alerts: FlipAlerts | None = None
    flipped: int = 0
    flips: list[FlipItem] = []
    missing: str | None = None
    next: str | None = None


@router.get("/{job_id}/flips", response_model_exclude_none=True)
async def get_flips(
    request: Request,
    job_id: str,
    _: Annotated[Caller, needs(None)],
    limit: Annotated[int, Query(ge=1, le=job_flips.MOST_FLIPS)] = 20,
    cursor: Annotated[int, Query(ge=0, le=job_flips.MOST_FLIPS)] = 0,
) -> FlipPage:
    """The events of the last week whose verdict the job's challenger would change, the strongest first."""
    return await flips_of(request, job_id, limit, cursor)


async def flips_of(request: Request, job_id: str, limit: int, cursor: int) -> FlipPage:
    """Raises NotFound."""
    lines = lines_of(request)

    def seen(connection: Any) -> tuple[jobs.Job, job_flips.EventComparison | None]:  # noqa: ANN401 - as above
        return requests.find(connection, job_id, lines), job_flips.find(connection, job_id)

    job, found = await services_of(request).ledger.seen(seen)
    if found is None or found.problem:
        return FlipPage(job_id=job_id, missing=_why_no_flips(job, found))
    page = found.flips[cursor : cursor + limit]
    return FlipPage(
        job_id=job_id,
        since=iso(found.since),
        events=found.events,
        events_unfit=found.unfit,
        rows=found.rows,
        alerts=FlipAlerts.model_validate(found, from_attributes=True),
        flipped=found.flipped,
        flips=[FlipItem.model_validate(flip, from_attributes=True) for flip in page],
        missing=None if found.events else "events: none of the last week is kept",
        next=str(cursor + limit) if len(found.flips) > cursor + limit else None,
    )


def _why_no_flips(job: jobs.Job, found: job_flips.EventComparison | None) -> str:
    if found is not None:
        return f"the comparison of recent events failed: {found.problem}"
    if job.state in ENDED:
        return "nothing was compared: the job made no model, or is too old"
    return "recent events are compared once the gate has judged"


@router.delete("/{job_id}")
async def cancel_job(request: Request, job_id: str, caller: Annotated[Caller, needs("operate")]) -> Job:
    """Cancel a job: at once while it waits, within seconds while it runs. The champion stays."""
    return await cancelled(request, caller, job_id)


async def cancelled(request: Request, caller: Caller, job_id: str) -> Job:
    """Raises NotFound, Conflict."""
    return await services_of(request).ledger.written(
        lambda c: requests.as_dict(c, requests.cancel(c, job_id, caller.name, caller.lines))
    )


@router.get("/{job_id}/events", response_class=StreamingResponse)
async def watch_job(
    request: Request, job_id: str, caller: Annotated[Caller, needs(None)]
) -> StreamingResponse:
    """The job as server-sent events: one `job` event for every change, until it has ended.

    At most 256 may watch at once; where they do, who has fewer takes a place of who has most.
    """
    services = services_of(request)
    return _Changes(request, services.job_watch, caller.name, await job_of(request, job_id))


class _Changes(StreamingResponse):
    """Holds a watcher's place for as long as it is sent."""

    def __init__(self, request: Request, watch: JobWatch, caller: str, state: Job) -> None:
        self._watch = watch
        self._watcher = watch.join(caller, state)
        changes = _changes(request, watch, self._watcher)
        super().__init__(changes, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._watch.leave(self._watcher)


async def _changes(request: Request, watch: JobWatch, watcher: JobWatcher) -> AsyncIterator[bytes]:
    sent, spoke = watcher.state, time.monotonic()
    yield _event(sent)
    while sent["state"] not in ENDED and not watcher.is_over and not await request.is_disconnected():
        await watch.next_look()
        if watcher.state != sent:
            sent, spoke = watcher.state, time.monotonic()
            yield _event(sent)
        elif time.monotonic() - spoke >= SILENT_SECONDS:
            spoke = time.monotonic()
            yield b": still here\n\n"


async def job_of(request: Request, job_id: str) -> Job:
    """Raises NotFound."""
    lines = lines_of(request)
    return await services_of(request).ledger.seen(
        lambda c: requests.as_dict(c, requests.find(c, job_id, lines))
    )


def _event(state: Job) -> bytes:
    return f"event: job\ndata: {json.dumps(state)}\n\n".encode()

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
from nearnorm.service.api.dependencies import body_of, described, needs, read, services_of
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.jobs import ENDED
from nearnorm.service.retraining import requests
from nearnorm.service.retraining.job_watch import JobWatch, JobWatcher
from nearnorm.service.services import Services

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

    def read(connection: Any) -> list[Job]:  # noqa: ANN401 - a connection; routes know no SQL
        found = jobs.newest(connection, limit + 1, cursor, model)
        return [requests.as_dict(connection, job) for job in found]

    found = await services_of(request).ledger.seen(read)
    more = len(found) > limit
    return JobPage(jobs=found[:limit], next=found[limit - 1]["job_id"] if more else None)


@router.post("", status_code=202, openapi_extra=described(JobRequest))
async def post_job(request: Request, response: Response, caller: Annotated[Caller, needs("operate")]) -> Job:
    """Retrain now, with the labels there are. Where a job waits already, it is that one."""
    services = services_of(request)
    name = request.app.state.registry.get(read(await body_of(request), JobRequest).model).ref.name
    job = await services.ledger.written(
        lambda c: requests.as_dict(c, requests.request(c, name, services.rule, caller.name))
    )
    response.headers["Location"] = f"/jobs/{job['job_id']}"
    return job


@router.get("/{job_id}")
async def get_job(request: Request, job_id: str, _: Annotated[Caller, needs(None)]) -> Job:
    """Where a job stands: stage, progress, what it waits for, the gate's reasons and the log's tail."""
    return await _read(services_of(request), job_id)


@router.delete("/{job_id}")
async def cancel_job(request: Request, job_id: str, caller: Annotated[Caller, needs("operate")]) -> Job:
    """Cancel a job: at once while it waits, within seconds while it runs. The champion stays."""
    return await services_of(request).ledger.written(
        lambda c: requests.as_dict(c, requests.cancel(c, job_id, caller.name))
    )


@router.get("/{job_id}/events", response_class=StreamingResponse)
async def watch_job(
    request: Request, job_id: str, caller: Annotated[Caller, needs(None)]
) -> StreamingResponse:
    """The job as server-sent events: one `job` event for every change, until it has ended.

    At most 256 may watch at once; where they do, who has fewer takes a place of who has most.
    """
    services = services_of(request)
    return _Changes(request, services.job_watch, caller.name, await _read(services, job_id))


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


async def _read(services: Services, job_id: str) -> Job:
    return await services.ledger.seen(lambda c: requests.as_dict(c, requests.find(c, job_id)))


def _event(state: Job) -> bytes:
    return f"event: job\ndata: {json.dumps(state)}\n\n".encode()

"""Retraining jobs: asked for, watched until they end, cancelled."""

from collections.abc import Callable
from time import monotonic
from typing import cast

from nearnorm.client.answers import JobDocument
from nearnorm.client.steps import Listing, Page, Pause, Steps, get, pages, send, within

ENDED = ("succeeded", "refused", "failed", "cancelled")


def retrain(*, model: str = "default") -> Steps[JobDocument]:
    """Ask for a retraining with the labels there are. Where a job waits already, it is that one."""
    return cast("JobDocument", (yield from send("POST", "/jobs", {"model": model})))


def job(job_id: str) -> Steps[JobDocument]:
    """Where a job stands, and why it ended so. Raises NotFoundError."""
    return cast("JobDocument", (yield from get(within("/jobs", job_id))))


def jobs(*, model: str | None = None, limit: int | None = None) -> Listing[JobDocument]:
    """Retraining jobs, newest first, `limit` at most."""
    yield from pages("/jobs", "jobs", {"model": model}, limit, 200)


def cancel(job_id: str) -> Steps[JobDocument]:
    """Cancel a job. Raises ConflictError where it has ended."""
    return cast("JobDocument", (yield from send("DELETE", within("/jobs", job_id))))


def watch(job_id: str, *, every: float = 1.0) -> Listing[JobDocument]:
    """The job now, and again whenever it has changed, until it has ended. It is looked at `every` so many
    seconds, so that neither a proxy nor a service that is started again ends it."""
    last: JobDocument | None = None
    while True:
        found = yield from job(job_id)
        if found != last:
            yield Page([found])
        if found["state"] in ENDED:
            return
        last = found
        yield Pause(every)


def wait(
    job_id: str,
    *,
    timeout: float | None = None,
    every: float = 1.0,
    progress: Callable[[JobDocument], object] | None = None,
) -> Steps[JobDocument]:
    """The job once it has ended: its `state` is succeeded, refused, failed or cancelled.

    `progress` is called with the job now, and whenever it has changed. Raises TimeoutError where it has not
    ended after `timeout` seconds; the job goes on.
    """
    end = None if timeout is None else monotonic() + timeout
    last: JobDocument | None = None
    while True:
        found = yield from job(job_id)
        if progress is not None and found != last:
            progress(found)
        if found["state"] in ENDED:
            return found
        if end is not None and monotonic() + every > end:
            raise TimeoutError(f"job {job_id} has not ended in {timeout:g} s: it is {found['state']}")
        last = found
        yield Pause(every)

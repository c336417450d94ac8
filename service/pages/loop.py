"""The loop's page: what became of labels, jobs as they run, what the gate went by, versions."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from nearnorm.models.errors import StoreError, StoreOutOfReach
from nearnorm.service.api import jobs, models
from nearnorm.service.api.dependencies import (
    model_of,
    read,
    services_of,
)
from nearnorm.service.api.jobs import Job, JobRequest
from nearnorm.service.api.models import ActivationRequest, RollbackRequest
from nearnorm.service.api.review import feedback
from nearnorm.service.feedback.submission.receipts import Receipt
from nearnorm.service.ledger.tables.feedback.labels import events_of
from nearnorm.service.ledger.tables.jobs import ENDED
from nearnorm.service.pages.frame.forms import Form, form_of
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Operator, Overseer, Visitor
from nearnorm.service.pages.pictures.gate import alert_bars, precision_interval, rank_picture
from nearnorm.service.retraining.jobs import requests

router = pages()

MOST_JOBS = 10
MOST_RECEIPTS = 10
MOST_VERSIONS = 10
MOST_FLIPS = 20

STAGES = {
    "snapshot": "reading labels and recent traffic",
    "evaluate": "measuring both models on labels that they have not seen",
    "fit": "training",
    "export": "writing the model",
    "report": "writing its report",
    "gate": "asking whether it is better",
    "shadow": "scoring live traffic beside today's model",
    "publish": "storing it",
    "activate": "putting it into service",
}
_OF_A_JOB: Job = dict.fromkeys(
    ("stage", "waits_for", "cancelled_by", "reasons", "evidence", "champion", "version", "log")
)
_OF_EVIDENCE: dict[str, Any] = dict.fromkeys(
    ("judged_by", "depth", "recall_at_budget", "average_precision", "traffic", "watch")
)
"""What is not there is left out of an answer; a template asks for it all the same."""


@router.get("/loop")
async def get_loop(
    request: Request,
    visitor: Overseer,
    model: str = "default",
    job: str | None = None,
    labels: int | None = None,
) -> Response:
    """The loop at a glance; `job` is shown large, `labels` is where the receipts go on."""
    services, loaded = services_of(request), await model_of(request, model)
    newest = await jobs.newest(request, model, MOST_JOBS, None)
    job_id = job or _foremost(newest.jobs)
    told: list[Receipt] = []
    older = None
    if visitor.may("feedback"):
        told, older = await feedback.told(request, visitor.caller, model, None, MOST_RECEIPTS, labels)
    return await page(
        request,
        "loop.html",
        model=model,
        version=loaded.ref.version,
        unread=await services.ledger.seen(lambda c: requests.unread(c, model).records),
        triggers_at=services.rule.after,
        jobs=newest.jobs,
        **await _shown(request, visitor, job_id),
        receipts=told,
        older=older,
        versions=(await models.stored(request, visitor.caller, MOST_VERSIONS, None)).models,
        previous=await asyncio.to_thread(_previous, request, model),
    )


@router.get("/loop/job")
async def get_job(request: Request, visitor: Overseer, job: str, model: str = "default") -> Response:
    """One job alone, for a script that follows it."""
    return await page(request, "parts/job.html", model=model, **await _shown(request, visitor, job))


@router.post("/loop/retrain")
async def post_retrain(request: Request, visitor: Operator) -> Response:
    """As POST /jobs."""
    form = await form_of(request)
    job = await jobs.asked(request, visitor.caller, JobRequest(_model(form)))
    return _back(form, job["job_id"])


@router.post("/loop/cancel")
async def post_cancel(request: Request, visitor: Operator) -> Response:
    """As DELETE /jobs/{job_id}."""
    form = await form_of(request)
    job = await jobs.cancelled(request, visitor.caller, form.need("job"))
    return _back(form, job["job_id"])


@router.post("/loop/activate")
async def post_activate(request: Request, visitor: Operator) -> Response:
    """As POST /models/{version}/activate."""
    form = await form_of(request)
    sent = read(_sent(form), ActivationRequest)
    await models.activated(request, visitor.caller, form.need("version"), sent)
    return _back(form)


@router.post("/loop/rollback")
async def post_rollback(request: Request, visitor: Operator) -> Response:
    """As POST /models/rollback."""
    form = await form_of(request)
    await models.rolled_back(request, visitor.caller, read(_sent(form), RollbackRequest))
    return _back(form)


async def _shown(request: Request, visitor: Visitor, job_id: str | None) -> dict[str, Any]:
    """What the page tells of one job."""
    if job_id is None:
        return {"job": None}
    job = _OF_A_JOB | await jobs.job_of(request, job_id)
    evidence = _OF_EVIDENCE | (job["evidence"] or {})
    return {
        "job": job,
        "evidence": evidence,
        "stage": STAGES.get(job["stage"]),
        "is_live": job["state"] not in ENDED,
        "ranks": rank_picture(evidence),
        "bars": alert_bars(evidence),
        "precision": precision_interval(evidence),
        "flips": await jobs.flips_of(request, job_id, MOST_FLIPS, 0),
        "confirmed": await _confirmed(request, visitor, job),
    }


def _foremost(newest: list[Job]) -> str | None:
    """The job that runs, or the newest."""
    running = [job for job in newest if job["state"] == "running"]
    return next((str(job["job_id"]) for job in [*running, *newest]), None)


async def _confirmed(request: Request, visitor: Visitor, job: Job) -> list[dict[str, Any]]:
    """The confirmed records whose verdict turns, those that turn clearly wrong first, with their events."""
    flips = sorted(
        (job["evidence"] or {}).get("flips") or [],
        key=lambda flip: (flip["turns"] != "wrong", not flip["clear"]),
    )[:MOST_FLIPS]
    if not visitor.may("feedback"):
        return flips
    ids = [flip["feedback_id"] for flip in flips]
    events = await services_of(request).ledger.seen(lambda c: events_of(c, ids))
    return [flip | {"event_id": events.get(flip["feedback_id"])} for flip in flips]


def _previous(request: Request, model: str) -> str | None:
    """The version that a rollback would put back."""
    try:
        found: str = request.app.state.registry.store.previous(model)
    except StoreOutOfReach:
        raise
    except StoreError:
        return None
    return found


def _model(form: Form) -> str:
    return form.get("model") or "default"


def _sent(form: Form) -> bytes:
    """Raises InvalidRequest where no reason was given."""
    return msgspec.json.encode({"model": _model(form), "reason": form.need("reason")})


def _back(form: Form, job_id: str | None = None) -> RedirectResponse:
    where = {"model": _model(form)} | ({"job": job_id} if job_id else {})
    return see_other(f"/loop?{urlencode(where)}")

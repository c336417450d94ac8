"""How a job ends: told in the ledger, once, with what was learnt from which labels."""

from contextlib import suppress

from nearnorm.models.retraining import TrainingResult
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.logs import log
from nearnorm.service.retraining.attempts.data_files import data_files
from nearnorm.service.retraining.attempts.left_out import keep_left_out
from nearnorm.service.retraining.attempts.workplace import Lost, Workplace


def actor_of(job: Job) -> str:
    """Who activates, in the store's log and the trail."""
    return f"job:{job.job_id}"


def succeed(
    place: Workplace, job: Job, result: TrainingResult, reasons: list[str], *, activated: bool
) -> None:
    """A version was made of it. Raises Lost."""
    told = _told(place, job, reasons)
    with place.ledger.write() as connection:
        now = jobs.find(connection, job.job_id)
        if now is None or now.watermark is None:
            raise Lost
        if not jobs.end(
            connection,
            job.job_id,
            place.name,
            "succeeded",
            now_ms(),
            told,
            result.figures,
            stage="done",
            progress=1.0,
            activated=activated,
        ):
            raise Lost
        labels.learnt(connection, job.model, now.watermark, job.job_id, result.version, result.learnt)
        if activated:
            audit.note(connection, actor_of(job), "activate", job.model, version=result.version)
        keep_left_out(connection, now, result, wait=place.settings.second_opinion_below > 0)
    _forget_records(place, job)
    log.info("job succeeded", job_id=job.job_id, version=result.version, activated=activated, reasons=reasons)


def end(
    place: Workplace,
    job: Job,
    state: jobs.State,
    reasons: list[str],
    result: TrainingResult | None = None,
) -> None:
    """It failed, was cancelled, or the gate refused what it made."""
    told = _told(place, job, reasons)
    with place.ledger.write() as connection:
        figures = result.figures if result else None
        ended = jobs.end(connection, job.job_id, place.name, state, now_ms(), told, figures)
        now = jobs.find(connection, job.job_id)
        if result and ended and now:
            keep_left_out(connection, now, result, wait=place.settings.second_opinion_below > 0)
    _forget_records(place, job)
    log.info("job ended", job_id=job.job_id, state=state, reasons=reasons)


def _told(place: Workplace, job: Job, reasons: list[str]) -> list[str]:
    """Whoever asks for the job is told no place of this machine; the log keeps them."""
    files = data_files(place, job) if reasons else []
    return [place.places.named(reason, files) for reason in reasons]


def _forget_records(place: Workplace, job: Job) -> None:
    """An ended job keeps its bundle and its result; the records it read are personal data."""
    for name in ("labels", "traffic"):
        with suppress(FileNotFoundError, NotADirectoryError):
            (place.folder_of(job) / f"{name}.jsonl").unlink()

"""The worker: takes jobs from the ledger, one at a time, and sees each to its end.

A job whose worker died is taken up again when its lease has run out. It is given up after MOST_ATTEMPTS
workers died over it.
"""

import shutil
import time

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.hours import Hours
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.logs import log
from nearnorm.service.retraining.attempts.attempt import JobAttempt
from nearnorm.service.retraining.attempts.endings import end
from nearnorm.service.retraining.attempts.training_process import Cancelled, training_is_installed
from nearnorm.service.retraining.attempts.workplace import LEASE, POLL, Lost, Stopped, Workplace
from nearnorm.service.retraining.jobs import turns
from nearnorm.service.retraining.jobs.requests import DRIFT, RELEASE
from nearnorm.service.retraining.only_one import OnlyOne
from nearnorm.service.settings import Settings

LOOK_EVERY = 300.0  # seconds between looks at what was put into service
MOST_ATTEMPTS = 3
KEPT_FOLDERS = 10


class Worker:
    """One worker of one home."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError where training is not installed, or a key to sign with or to trust cannot be
        read."""
        if not training_is_installed():
            raise ConfigError(
                "a worker trains, and the extra training is not installed: "
                "`pip install 'nearnorm[cpu,training]'`"
            )
        self.place = Workplace(settings)
        self.settings, self.name = settings, self.place.name
        self.ledger, self.store = self.place.ledger, self.place.store
        self._hours = Hours.of(settings.training_hours) if settings.training_hours else None
        self._looked = -LOOK_EVERY

    def stop(self) -> None:
        self.place.stop.set()

    def run(self) -> None:
        """Work until told to stop. Only one worker of a home works; others wait for it to end."""
        with OnlyOne(self.settings.home, self.place.stop) as alone:
            if not alone:
                return
            warned, ready = False, False
            while not self.place.stop.wait(POLL):
                try:
                    if not ready:
                        migrate(self.ledger)
                        log.info("worker ready", worker=self.name)
                        ready = True
                    self.place.greet()
                    job = self.next_job()
                    if job is not None:
                        self.work(job)
                    else:
                        self._watch()
                    warned = False
                except LedgerUnavailable as error:
                    if not warned:
                        log.warning("the worker waits for the ledger", problem=str(error))
                    warned = True
        self.ledger.close()

    def work(self, job: Job) -> None:
        """See one job to its end. Raises LedgerUnavailable: its lease runs out then, and it is repeated."""
        log.info("job begins", job_id=job.job_id, model=job.model, attempt=job.attempts)
        attempt = JobAttempt(self.place, job)
        try:
            if job.attempts > MOST_ATTEMPTS and not attempt.activated():  # else it serves: nearly done
                stage = job.stage or "start"
                raise NearnormError(
                    f"{MOST_ATTEMPTS} workers died over this job, the last one at its {stage}"
                )
            attempt.make()
        except Lost:
            log.warning("job was taken over", job_id=job.job_id)
        except Stopped:
            with self.ledger.write() as connection:
                jobs.hand_back(connection, job.job_id, self.name)
            log.info("job is handed back", job_id=job.job_id)
        except Cancelled:
            end(self.place, job, "cancelled", [])
        except NearnormError as error:
            end(self.place, job, "failed", [str(error)])
        except OSError as error:
            problem = f"{error.filename or self.settings.home}: {error.strerror or error}"
            end(self.place, job, "failed", [problem])
        except LedgerUnavailable:
            raise
        except Exception as error:  # what nobody foresaw must not be tried again and again
            log.error("job failed", job_id=job.job_id, exc_info=error)
            problem = f"the worker failed, see its log: {type(error).__name__}: {error}"
            end(self.place, job, "failed", [problem])
        self._sweep()

    def _watch(self) -> None:
        """Look after what was put into service, now and then. Raises LedgerUnavailable."""
        if self.settings.watch == "off" or time.monotonic() - self._looked < self._between_looks:
            return
        self._looked = time.monotonic()
        try:
            if not any(entry.by.startswith("job:") for entry in self.store.activations()):
                return  # numpy and onnxruntime, which a worker without a swap can do without
            from nearnorm.service.retraining.rescoring.swap_watch import SwapWatch

            SwapWatch(self.settings, self.ledger, self.store).look()
        except LedgerUnavailable:
            raise
        except Exception as error:  # jobs go on, whatever it was
            log.error("the watch failed", exc_info=error)

    @property
    def _between_looks(self) -> float:
        """Seconds: a short watch has several looks too."""
        return min(LOOK_EVERY, self.settings.watch_seconds / 4)

    def next_job(self) -> Job | None:
        """Take the job whose turn it is; None: there is none for this worker now."""
        with self.ledger.read() as connection:
            found = turns.next_job(connection, RELEASE, now_ms(), self.name)
        if found is None or self._put_off(found):
            return None
        most = self.settings.trainings_at_once
        with self.ledger.write() as connection:
            if most is not None:
                tick(connection, "jobs")  # nobody else takes one until this is committed
                if jobs.at_work(connection, now_ms()) >= most:
                    return None
            taken = jobs.take(connection, found, self.name, now_ms(), now_ms() + LEASE)
            return jobs.find(connection, found.job_id) if taken else None

    def _put_off(self, job: Job) -> bool:
        """Whether a job that no person asked for waits for its hours: then the ledger tells until when."""
        if self._hours is None or job.state != "queued":
            return False
        if job.cause == "request" and job.requested_by != DRIFT:
            return False
        now = now_ms()
        begins = self._hours.next(now)
        if begins > now:
            with self.ledger.write() as connection:
                jobs.put_off(connection, job.job_id, begins)
        return begins > now

    def _sweep(self) -> None:
        """Keep the folders of the newest jobs."""
        folders = sorted((self.settings.home / "jobs").glob("*"))
        for folder in folders[:-KEPT_FOLDERS]:
            shutil.rmtree(folder, ignore_errors=True)

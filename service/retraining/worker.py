"""The worker: takes jobs from the ledger, one at a time, and sees each to its end.

snapshot -> training in a process of its own -> publish -> activate. Every step may be repeated: a job
whose worker died is taken up again when its lease has run out, from the start or, where training had
ended, from its result. A job is given up after MOST_ATTEMPTS workers died over it.
"""

import json
import os
import shutil
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.bundle.review import REVIEW, read_review
from nearnorm.models.bundle.signature import SigningKey
from nearnorm.models.errors import BundleError, ConfigError, NearnormError
from nearnorm.models.retraining import TrainingRequest, TrainingResult, read_part
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.hours import Hours
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import job_flips, jobs, lines, snapshot
from nearnorm.service.ledger.tables.feedback import labels, reference_rows
from nearnorm.service.ledger.tables.job_flips import EventComparison
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.ledger.tables.lines import LineData
from nearnorm.service.logs import log
from nearnorm.service.retraining import turns
from nearnorm.service.retraining.left_out import keep_left_out
from nearnorm.service.retraining.only_one import OnlyOne
from nearnorm.service.retraining.requests import DRIFT, RELEASE
from nearnorm.service.retraining.training_process import (
    Cancelled,
    Ended,
    TrainingProcess,
    training_is_installed,
)
from nearnorm.service.settings import Settings

POLL = 0.5  # seconds between looks at the ledger: how soon a job starts and a cancellation is seen
LEASE = 10_000  # ms that a worker may be silent before its job is taken from it
GREET = 5.0  # seconds
LOOK_EVERY = 300.0  # seconds between looks at what was put into service
REPORT_SHADOW = 5.0  # seconds between reports of a shadow period: each is an event to whoever watches
FORGOTTEN = 24 * 3600 * 1000  # ms
MOST_ATTEMPTS = 3
KEPT_FOLDERS = 10


class Lost(Exception):
    """The job is another worker's now."""


class Stopped(Exception):
    """The worker was told to stop: another one takes the job up."""


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
        self.settings = settings
        home = str(settings.home.absolute())
        self.name = turns.name_of(socket.gethostname(), home, os.getpid(), new_id()[-6:])
        self.ledger = Ledger.at(settings.database_url, settings.home)
        self.store = settings.open_store()
        self._doubts = settings.second_opinion_below > 0
        self._key = SigningKey(settings.signing_key) if settings.signing_key else None
        self._trusted = settings.read_trusted_keys()
        self._hours = Hours.of(settings.training_hours) if settings.training_hours else None
        self._greeted = -GREET
        self._looked = -LOOK_EVERY
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Work until told to stop. Only one worker of a home works; others wait for it to end."""
        with OnlyOne(self.settings.home, self._stop) as alone:
            if not alone:
                return
            warned, ready = False, False
            while not self._stop.wait(POLL):
                try:
                    if not ready:
                        migrate(self.ledger)
                        log.info("worker ready", worker=self.name)
                        ready = True
                    self._greet()
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
        try:
            if job.attempts > MOST_ATTEMPTS and not self._activated(job):  # else it serves: nearly done
                stage = job.stage or "start"
                raise NearnormError(
                    f"{MOST_ATTEMPTS} workers died over this job, the last one at its {stage}"
                )
            self._retrain(job)
        except Lost:
            log.warning("job was taken over", job_id=job.job_id)
        except Stopped:
            with self.ledger.write() as connection:
                jobs.hand_back(connection, job.job_id, self.name)
            log.info("job is handed back", job_id=job.job_id)
        except Cancelled:
            self._end(job, "cancelled", [])
        except NearnormError as error:
            self._end(job, "failed", [str(error)])
        except OSError as error:
            self._end(job, "failed", [f"{error.filename or self.settings.home}: {error.strerror or error}"])
        except LedgerUnavailable:
            raise
        except Exception as error:  # what nobody foresaw must not be tried again and again
            log.error("job failed", job_id=job.job_id, exc_info=error)
            self._end(job, "failed", [f"the worker failed, see its log: {type(error).__name__}: {error}"])
        self._sweep()

    def _greet(self) -> None:
        if time.monotonic() - self._greeted >= GREET:
            now = now_ms()
            with self.ledger.write() as connection:
                jobs.greet(connection, self.name, RELEASE, now, now - FORGOTTEN)
            self._greeted = time.monotonic()

    def _watch(self) -> None:
        """Look after what was put into service, now and then. Raises LedgerUnavailable."""
        if self.settings.watch == "off" or time.monotonic() - self._looked < self._between_looks:
            return
        self._looked = time.monotonic()
        try:
            if not any(entry.by.startswith("job:") for entry in self.store.activations()):
                return  # numpy and onnxruntime, which a worker without a swap can do without
            from nearnorm.service.retraining.swap_watch import SwapWatch

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

    def _retrain(self, job: Job) -> None:
        folder = self.settings.home.absolute() / "jobs" / job.job_id
        if not (folder / "result.json").is_file() and self._activated(job):  # on a machine that was lost
            raise NearnormError(
                "what it made was activated, but what it learnt and measured is lost with the machine it "
                "ran on: ask for another by `nearnorm retrain`"
            )
        if not (folder / "result.json").is_file():
            self._snapshot(job, folder)
            self._train(job, folder)
        result = read_part(folder / "result.json", TrainingResult)
        self._renew_lease(job, stage="gate", progress=0.95, digest=result.digest, version=result.version)
        self._find_flips(job, folder)
        reasons = [*result.reasons, *result.problems]
        if not result.accepted:
            self._end(job, "refused", reasons, result)
            return
        if self.settings.shadow_seconds:
            from nearnorm.service.retraining.shadow import spoken

            report = self._shadow(job, folder, result.figures)
            result = replace(result, figures={**result.figures, "shadow": report})
            reasons.insert(0, spoken(report))
        self._renew_lease(job, stage="publish", progress=0.97)
        if self._key is not None:
            self._key.sign(folder / "bundle")
        self.store.publish(folder / "bundle")
        bundle = read_bundle(folder / "bundle")
        self._keep_reference(bundle)
        self._keep_policy(job, bundle)
        now = self._renew_lease(job, stage="activate", progress=0.99)
        obstacle = self._activate(now, result)
        self._succeed(job, result, [obstacle, *reasons] if obstacle else reasons, obstacle is None)

    def _snapshot(self, job: Job, folder: Path) -> None:
        from nearnorm.service.verdict import policies  # numpy, which a worker that waits can do without

        champion = self.store.champion(job.model)
        if champion is None:
            raise NearnormError(
                f"model {job.model!r} has no champion to begin with: activate a version first"
            )
        bundle = self.store.open(champion.version)
        if self._trusted is not None:
            self._trusted.check(bundle)
        rows = self.settings.retrain_traffic_rows
        base = self._base_data(job.model)
        with self.ledger.read() as connection:
            seen = snapshot.read(connection, job.model, champion.version, rows)
            share = policies.share_in_force(connection, bundle, job.model)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        request = TrainingRequest(
            champion=str(bundle.path.absolute()),
            version=bundle.version,
            trusted=self._trusted is not None,
            budget=share,
            source=base.training_data,
            reference=base.reference_data,
            config=base.training_config,
        )
        (folder / "request.json").write_bytes(msgspec.json.encode(request))
        for name, records in (("labels", seen.verdicts), ("traffic", seen.traffic)):
            text = "".join(f"{record}\n" for record in records)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        self._renew_lease(job, watermark=seen.watermark, champion=champion.version, evidence="{}")

    def _base_data(self, model: str) -> LineData:
        """What was given for the line; for the default one, where that has nothing, the settings."""
        with self.ledger.read() as connection:
            line = lines.find(connection, model)
        own = line.base if line else LineData()
        if model != DEFAULT_MODEL:
            return own
        config = self.settings.training_config
        by_settings = LineData(
            self.settings.training_data,
            self.settings.reference_data,
            str(config.absolute()) if config else None,
        )
        return own.over(by_settings)

    def _train(self, job: Job, folder: Path) -> None:
        settings = self.settings
        child = TrainingProcess(
            folder,
            settings.training_seconds,
            settings.training_silence_seconds,
            settings.training_threads,
        )
        try:
            while (progress := child.wait(POLL)) is not None:
                self._greet()
                self._renew_lease(job, stage=progress.stage, progress=progress.progress, log=progress.log)
        except Ended as error:
            self._renew_lease(job, log=child.progress.log)
            raise NearnormError(str(error)) from None
        finally:
            child.end()
        self._renew_lease(job, log=child.progress.log)

    def _find_flips(self, job: Job, folder: Path) -> None:
        """Keep what the challenger would say otherwise of recent events: whoever decides can look at them."""
        from nearnorm.service.retraining import flips  # onnxruntime, which a worker that waits can do without

        found = EventComparison(now_ms() - flips.PERIOD_MS)
        try:
            champion = self.store.open(str(self._renew_lease(job).champion))
            challenger = read_bundle(folder / "bundle")
            for compared in flips.compare(self.ledger, job.model, champion, challenger):
                found = compared
                self._renew_lease(job)
        except NearnormError as error:  # the job does not hang on it
            log.warning("recent events were not compared", job_id=job.job_id, problem=str(error))
            found = replace(found, problem=str(error))
        with self.ledger.write() as connection:
            job_flips.put(connection, job.job_id, found)

    def _shadow(self, job: Job, folder: Path, figures: dict[str, Any]) -> dict[str, Any]:
        """Let the challenger score beside the champion until the period is over, or another version serves.

        The ledger keeps when it began: who takes the job up after us goes on.
        """
        from nearnorm.service.retraining.shadow import Shadow  # onnxruntime: 50 MB, and off by default

        now = self._renew_lease(job, stage="shadow")
        assert now.champion is not None  # noqa: S101 - the snapshot told it
        begun = (now.evidence or {}).get("shadow")
        since = begun["since_ms"] if begun else now_ms()
        period = Shadow(
            self.ledger,
            job.model,
            (self.store.open(now.champion), read_bundle(folder / "bundle")),
            (since, since + int(self.settings.shadow_seconds * 1000)),
            self.settings.shadow_rows,
        )
        reported = -REPORT_SHADOW
        while True:
            goes_on = period.look()
            if time.monotonic() - reported < REPORT_SHADOW:
                self._renew_lease(job)
            else:
                reported = time.monotonic()
                self._renew_lease(job, evidence=json.dumps({**figures, "shadow": period.report()}))
            champion = self.store.champion(job.model)
            if not goes_on or champion is None or champion.version != now.champion:
                return period.report()
            self._greet()
            self._stop.wait(POLL)

    def _keep_reference(self, bundle: Bundle) -> None:
        """The rows that people can review go into the ledger, the only place where records are kept."""
        rows = read_review(bundle.path, bundle.manifest.core)
        with self.ledger.write() as connection:
            reference_rows.put(connection, bundle.version, rows)
        (bundle.path / REVIEW).unlink(missing_ok=True)

    def _keep_policy(self, job: Job, bundle: Bundle) -> None:
        """Whatever columns the data has by now, a retraining goes on with its champion's policy."""
        from nearnorm.service.verdict import policies  # numpy, as above

        champion = self._renew_lease(job).champion
        if champion not in self.store.versions():  # somebody took it away meanwhile
            return
        before = self.store.open(champion).manifest.core.features.line
        after = bundle.manifest.core.features.line
        if before != after:
            with self.ledger.write() as connection:
                policies.go_on(connection, job.model, before, after, _name(job))

    def _activate(self, job: Job, result: TrainingResult) -> str | None:
        """Activate once, however often it is tried: the log tells whose entry is there. Answers why not."""
        if self._activated(job):
            return None
        version = result.version
        of = "" if job.model == DEFAULT_MODEL else f' with {{"model": "{job.model}"}}'
        by_hand = f"it waits for POST /models/{version}/activate{of}"
        if self.settings.gate == "manual":
            return f"{by_hand}: the gate is manual"
        if self.settings.gate == "measured" and not result.measured:
            return f"{by_hand}: whether it finds unseen anomalies as well could not be measured yet"
        champion = self.store.champion(job.model)
        if champion is None or champion.version != job.champion:
            return f"{by_hand}: another version was activated while it trained"
        try:
            if self._trusted is not None:
                self._trusted.check(self.store.open(version))
        except BundleError as error:
            return f"it does not serve: {error}, or give the worker a key by NEARNORM_SIGNING_KEY"
        self.store.activate(version, by=_name(job), model=job.model)
        return None

    def _activated(self, job: Job) -> bool:
        return any(entry.by == _name(job) for entry in self.store.activations())

    def _succeed(self, job: Job, result: TrainingResult, reasons: list[str], activated: bool) -> None:
        with self.ledger.write() as connection:
            now = jobs.find(connection, job.job_id)
            if now is None or now.watermark is None:
                raise Lost
            if not jobs.end(
                connection,
                job.job_id,
                self.name,
                "succeeded",
                now_ms(),
                reasons,
                result.figures,
                stage="done",
                progress=1.0,
                activated=activated,
            ):
                raise Lost
            labels.learnt(connection, job.model, now.watermark, job.job_id, result.version, result.learnt)
            if activated:
                audit.note(connection, _name(job), "activate", job.model, version=result.version)
            keep_left_out(connection, now, result, wait=self._doubts)
        self._forget_records(job)
        log.info("job succeeded", job_id=job.job_id, version=result.version, activated=activated)

    def _renew_lease(self, job: Job, **changes: Any) -> Job:  # noqa: ANN401
        """Renew the lease, and tell how far the job is. Raises Lost, Cancelled, Stopped."""
        if self._stop.is_set():
            raise Stopped
        with self.ledger.write() as connection:
            now = jobs.renew(connection, job.job_id, self.name, now_ms() + LEASE, **changes)
        if now is None:
            raise Lost
        if now.cancelled_by is not None:
            raise Cancelled
        return now

    def _end(
        self,
        job: Job,
        state: jobs.State,
        reasons: list[str],
        result: TrainingResult | None = None,
    ) -> None:
        with self.ledger.write() as connection:
            figures = result.figures if result else None
            ended = jobs.end(connection, job.job_id, self.name, state, now_ms(), reasons, figures)
            now = jobs.find(connection, job.job_id)
            if result and ended and now:
                keep_left_out(connection, now, result, wait=self._doubts)
        self._forget_records(job)
        log.info("job ended", job_id=job.job_id, state=state, reasons=reasons)

    def _forget_records(self, job: Job) -> None:
        """An ended job keeps its bundle and its result; the records it read are personal data."""
        for name in ("labels", "traffic"):
            with suppress(FileNotFoundError, NotADirectoryError):
                (self.settings.home / "jobs" / job.job_id / f"{name}.jsonl").unlink()

    def _sweep(self) -> None:
        """Keep the folders of the newest jobs."""
        folders = sorted((self.settings.home / "jobs").glob("*"))
        for folder in folders[:-KEPT_FOLDERS]:
            shutil.rmtree(folder, ignore_errors=True)


def _name(job: Job) -> str:
    """Who activates, in the store's log and the trail."""
    return f"job:{job.job_id}"

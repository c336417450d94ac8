"""One attempt at a job: snapshot -> training in its own process -> gate -> shadow -> publish -> activate.

Every step may be repeated. Who takes a job up begins at the start, or at the result of a training that ended.
"""

import json
import time
from typing import Any

from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.bundle.review import REVIEW, read_review
from nearnorm.models.errors import BundleError, NearnormError
from nearnorm.models.retraining import TrainingResult, read_part
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables import job_flips
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.ledger.tables.job_flips import EventComparison
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.logs import log
from nearnorm.service.retraining.attempts.data_files import data_files
from nearnorm.service.retraining.attempts.endings import actor_of, end, succeed
from nearnorm.service.retraining.attempts.snapshot_files import write_snapshot
from nearnorm.service.retraining.attempts.training_process import Ended, TrainingProcess
from nearnorm.service.retraining.attempts.workplace import POLL, Workplace

REPORT_SHADOW = 5.0  # seconds between reports of a shadow period: each is an event to whoever watches


class JobAttempt:
    """Of one worker, at one job."""

    def __init__(self, place: Workplace, job: Job) -> None:
        self.job = job
        self._place = place
        self._folder = place.folder_of(job)

    def make(self) -> None:
        """See it to its end. Raises NearnormError, OSError: the job failed; Lost, Cancelled, Stopped."""
        if not (self._folder / "result.json").is_file() and self.activated():  # on a machine that was lost
            raise NearnormError(
                "what it made was activated, but what it learnt and measured is lost with the machine it "
                "ran on: ask for another by `nearnorm retrain`"
            )
        if not (self._folder / "result.json").is_file():
            write_snapshot(self._place, self.job, self._folder)
            self._train()
        result = read_part(self._folder / "result.json", TrainingResult)
        self._renew(stage="gate", progress=0.95, digest=result.digest, version=result.version)
        self._find_flips()
        reasons = [*result.reasons, *result.problems]
        if not result.accepted:
            end(self._place, self.job, "refused", reasons, result)
            return
        if self._place.settings.shadow_seconds:
            from nearnorm.service.retraining.rescoring.shadow import spoken

            report = self._shadow(result.figures)
            result = replace(result, figures={**result.figures, "shadow": report})
            reasons.insert(0, spoken(report))
        self._renew(stage="publish", progress=0.97)
        if self._place.key is not None:
            self._place.key.sign(self._folder / "bundle")
        self._place.store.publish(self._folder / "bundle")
        bundle = read_bundle(self._folder / "bundle")
        self._keep_reference(bundle)
        self._keep_policy(bundle)
        now = self._renew(stage="activate", progress=0.99)
        obstacle = self._activate(now, result)
        reasons = [obstacle, *reasons] if obstacle else reasons
        succeed(self._place, self.job, result, reasons, activated=obstacle is None)

    def activated(self) -> bool:
        """Whether what it made was put into service."""
        return any(entry.by == actor_of(self.job) for entry in self._place.store.activations())

    def _train(self) -> None:
        settings, files = self._place.settings, data_files(self._place, self.job)
        child = TrainingProcess(
            self._folder,
            settings.training_seconds,
            settings.training_silence_seconds,
            settings.training_threads,
        )
        try:
            while (progress := child.wait(POLL)) is not None:
                written = self._place.places.named(progress.log, files)
                self._renew(stage=progress.stage, progress=progress.progress, log=written)
        except Ended as error:
            self._renew(log=self._place.places.named(child.progress.log, files))
            raise NearnormError(str(error)) from None
        finally:
            child.end()
        self._renew(log=self._place.places.named(child.progress.log, files))

    def _find_flips(self) -> None:
        """Keep what the challenger would say otherwise of recent events: whoever decides can look at them."""
        # here, as it brings onnxruntime, which a worker that waits can do without
        from nearnorm.service.retraining.rescoring import flips

        found = EventComparison(now_ms() - flips.PERIOD_MS)
        try:
            champion = self._place.store.open(str(self._renew().champion))
            challenger = read_bundle(self._folder / "bundle")
            for compared in flips.compare(self._place.ledger, self.job.model, champion, challenger):
                found = compared
                self._renew()
        except NearnormError as error:  # the job does not hang on it
            log.warning("recent events were not compared", job_id=self.job.job_id, problem=str(error))
            found = replace(found, problem=self._place.places.named(str(error)))
        with self._place.ledger.write() as connection:
            job_flips.put(connection, self.job.job_id, found)

    def _shadow(self, figures: dict[str, Any]) -> dict[str, Any]:
        """Let the challenger score beside the champion until the period is over, or another version serves.

        The ledger keeps when it began: who takes the job up after us goes on.
        """
        # here, as it brings onnxruntime: 50 MB, and off by default
        from nearnorm.service.retraining.rescoring.shadow import Shadow

        now = self._renew(stage="shadow")
        assert now.champion is not None  # noqa: S101 - the snapshot told it
        begun = (now.evidence or {}).get("shadow")
        since = begun["since_ms"] if begun else now_ms()
        period = Shadow(
            self._place.ledger,
            self.job.model,
            (self._place.store.open(now.champion), read_bundle(self._folder / "bundle")),
            (since, since + int(self._place.settings.shadow_seconds * 1000)),
            self._place.settings.shadow_rows,
        )
        reported = -REPORT_SHADOW
        while True:
            goes_on = period.look()
            if time.monotonic() - reported < REPORT_SHADOW:
                self._renew()
            else:
                reported = time.monotonic()
                self._renew(evidence=json.dumps({**figures, "shadow": period.report()}))
            champion = self._place.store.champion(self.job.model)
            if not goes_on or champion is None or champion.version != now.champion:
                return period.report()
            self._place.stop.wait(POLL)

    def _keep_reference(self, bundle: Bundle) -> None:
        """The rows that people can review go into the ledger, the only place where records are kept."""
        rows = read_review(bundle.path, bundle.manifest.core)
        with self._place.ledger.write() as connection:
            reference_rows.put(connection, bundle.version, rows)
        (bundle.path / REVIEW).unlink(missing_ok=True)

    def _keep_policy(self, bundle: Bundle) -> None:
        """Whatever columns the data has by now, a retraining goes on with its champion's policy."""
        from nearnorm.service.verdict import policies  # numpy, which a worker that waits can do without

        champion = self._renew().champion
        if champion not in self._place.store.versions():  # somebody took it away meanwhile
            return
        before = self._place.store.open(champion).manifest.core.features.line
        after = bundle.manifest.core.features.line
        if before != after:
            with self._place.ledger.write() as connection:
                policies.go_on(connection, self.job.model, before, after, actor_of(self.job))

    def _activate(self, job: Job, result: TrainingResult) -> str | None:
        """Activate once, however often it is tried: the log tells whose entry is there. Answers why not."""
        if self.activated():
            return None
        version = result.version
        of = "" if job.model == DEFAULT_MODEL else f' with {{"model": "{job.model}"}}'
        by_hand = f"it waits for POST /models/{version}/activate{of}"
        if self._place.settings.gate == "manual":
            return f"{by_hand}: the gate is manual"
        if self._place.settings.gate == "measured" and not result.measured:
            return f"{by_hand}: whether it finds unseen anomalies as well could not be measured yet"
        champion = self._place.store.champion(job.model)
        if champion is None or champion.version != job.champion:
            return f"{by_hand}: another version was activated while it trained"
        try:
            if self._place.trusted is not None:
                self._place.trusted.check(self._place.store.open(version))
        except BundleError as error:
            return f"it does not serve: {error}, or give the worker a key by NEARNORM_SIGNING_KEY"
        self._place.store.activate(version, by=actor_of(self.job), model=job.model)
        return None

    def _renew(self, **changes: Any) -> Job:  # noqa: ANN401
        return self._place.renew(self.job, **changes)

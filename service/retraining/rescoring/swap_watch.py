"""The watch after a swap: a version that the loop put into service, beside the one before it, for a while.

It runs in the worker between jobs, and reads what the event log keeps and what was labelled since. So no
request waits for it, and who takes the watch up after a restart reads the same again.
"""

import json
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import NearnormError, StoreError
from nearnorm.models.store.folder import Activation, ModelStore
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import audit_trail, jobs, swaps
from nearnorm.service.ledger.tables.feedback.labels import about, labels, verdicts
from nearnorm.service.ledger.tables.feedback.second_opinions import is_waiting
from nearnorm.service.ledger.tables.swaps import Swap
from nearnorm.service.logs import log
from nearnorm.service.places import NamedPlaces
from nearnorm.service.retraining.rescoring.rescore import Rescorer
from nearnorm.service.retraining.rescoring.shadow import CHUNK, LAG, Shadow
from nearnorm.service.retraining.rescoring.swap_loss import (
    Judged,
    is_one_labellers_word,
    loss,
    too_many_alerts,
)
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies

BY_JOB = "job:"  # how an activation by the loop is signed
WATCH = "watch"  # who rolls back
MOST_LABELS = 5_000


class SwapWatch:
    """Looks after what the loop activated in one store, as the settings say."""

    def __init__(self, settings: Settings, ledger: Ledger, store: ModelStore) -> None:
        self._settings, self._ledger, self._store = settings, ledger, store
        self._places = NamedPlaces(settings)

    def look(self) -> None:
        """Compare every champion that is under watch with the version before it, and act on a clear loss.

        Raises LedgerUnavailable.
        """
        newest = {entry.model: entry for entry in self._store.activations()}
        for entry in newest.values():
            swap = self._swap(entry)
            if swap is None:
                continue
            try:
                swap = self._compare(swap, self._watermark(entry))
            except NearnormError as error:  # a version that cannot be read is told, and not tried again
                log.error("the watch failed", version=swap.version, problem=str(error))
                why = f"the watch over {swap.version} failed: {self._places.named(str(error))}"
                swap = replace(swap, outcome="failed", reason=why)
            self._conclude(swap, entry.by.removeprefix(BY_JOB))

    def _swap(self, entry: Activation) -> Swap | None:
        """What is to be looked at now; None: a person activated it, or it was looked after before."""
        if entry.action != "activate" or not entry.by.startswith(BY_JOB):
            return None
        since = int(datetime.fromisoformat(entry.at).timestamp() * 1000)
        with self._ledger.read() as connection:
            known = swaps.find(connection, entry.model, entry.version)
        if known is not None and known.outcome == "rolled_back" and known.since == since:
            self._roll_back(known)  # whoever decided so died before it was done
            return None
        if known is not None and (known.outcome != "watching" or known.since != since):
            return None
        try:
            return known or Swap(entry.model, entry.version, self._store.previous(entry.model), since)
        except StoreError:
            return None

    def _watermark(self, entry: Activation) -> int:
        """The labels' clock up to which the version has read."""
        with self._ledger.read() as connection:
            job = jobs.find(connection, entry.by.removeprefix(BY_JOB))
        return job.watermark or 0 if job else 0

    def _compare(self, swap: Swap, watermark: int) -> Swap:
        """Raises NearnormError for a version that cannot be asked here."""
        new, old = self._store.open(swap.version), self._store.open(swap.before)
        now, period = now_ms(), int(self._settings.watch_seconds * 1000)
        until = min(now - LAG, swap.since + period)
        traffic = Shadow(
            self._ledger, swap.model, (new, old), (swap.since, until), self._settings.shadow_rows
        )
        while traffic.look():
            pass
        report = traffic.report()
        judged = self._judged(swap.model, (new, old), watermark)
        figures = {
            "events": report["events"],
            "rank_correlation": report.get("rank_correlation"),
            "labels": len(judged),
            "anomalies": sum(one.anomaly for one in judged),
        }
        if alerts := report.get("alerts"):
            figures["alerts"] = {"version": alerts["champion"], "before": alerts["challenger"]}
        ended = now >= swap.since + period
        swap = replace(swap, figures=figures, outcome="kept" if ended else "watching")
        if lost := loss(judged):
            alone = is_one_labellers_word(judged)
            if not alone and self._settings.watch == "rollback":
                return replace(swap, outcome="rolled_back", reason=f"{swap.version} was worse: {lost}")
            if not alone or len({one.key for one in judged}) == 1:  # there is nobody else to ask
                return replace(swap, outcome="worse", reason=f"{swap.version} is worse: {lost}")
        if alerts and (more := too_many_alerts(alerts["champion"], alerts["challenger"])):
            return replace(swap, outcome="worse", reason=f"{swap.version} alerts more: {more}")
        return swap

    def _judged(self, model: str, versions: tuple[Bundle, Bundle], watermark: int) -> list[Judged]:
        """The verdicts that are newer than what the version has read, the newest, and wait for nobody."""
        query = (
            sa.select(verdicts.c.digest, verdicts.c.verdict, labels.c.record)
            .join(labels, labels.c.feedback_id == verdicts.c.feedback_id)
            .where(verdicts.c.model == model, verdicts.c.change > watermark)
            .where(verdicts.c.verdict.in_(("anomaly", "normal")), ~is_waiting())
            .order_by(verdicts.c.change.desc())
            .limit(MOST_LABELS)
        )
        with self._ledger.read() as connection:
            rows = connection.execute(query).all()
            said = about(connection, model, [row.digest for row in rows])
            shares = [policies.share_in_force(connection, bundle, model) for bundle in versions]
        records = [json.loads(row.record) for row in rows]
        sides = [
            _answers(Rescorer(bundle, "auto", None, share, CHUNK), records)
            for bundle, share in zip(versions, shares, strict=True)
        ]
        return [
            Judged(row.verdict == "anomaly", *_of_both(sides, i), said[row.digest].alone)
            for i, row in enumerate(rows)
            if all(i in side for side in sides)
        ]

    def _conclude(self, swap: Swap, job_id: str) -> None:
        """Keep what was found; the first time that something is wrong it is told."""
        with self._ledger.write() as connection:
            swaps.put(connection, swap)
            told = {"outcome": swap.outcome, "before": swap.before, **swap.figures}
            jobs.add_evidence(
                connection, job_id, "watch", told | ({"reason": swap.reason} if swap.reason else {})
            )
            if swap.outcome not in ("watching", "kept"):
                action = "rollback" if swap.outcome == "rolled_back" else f"watch.{swap.outcome}"
                detail = {"version": swap.version, "before": swap.before, "reason": swap.reason}
                audit_trail.note(connection, WATCH, action, swap.model, **detail, figures=swap.figures)
        if swap.outcome not in ("watching", "kept"):
            log.warning("watch", model=swap.model, outcome=swap.outcome, reason=swap.reason)
        if swap.outcome == "rolled_back":
            self._roll_back(swap)

    def _roll_back(self, swap: Swap) -> None:
        try:
            self._store.rollback(by=WATCH, model=swap.model, to=swap.before, reason=swap.reason)
        except NearnormError as error:
            with self._ledger.write() as connection:
                audit_trail.note_failure(connection, WATCH, "rollback", swap.model, swap.version, str(error))
                why = self._places.named(str(error))
                reason = f"{swap.reason}; it could not be rolled back: {why}"
                swaps.put(connection, replace(swap, outcome="worse", reason=reason))


def _answers(version: Rescorer, records: Sequence[dict[str, object]]) -> dict[int, tuple[float, bool]]:
    """Rank in [0, 1] and verdict of those records that fit a version, by their place."""
    found: dict[int, tuple[float, bool]] = {}
    for start in range(0, len(records), CHUNK):
        places, percentile, anomaly = version.judge_records(records[start : start + CHUNK])
        for place, rank, alerts in zip(places, (percentile / 100).tolist(), anomaly.tolist(), strict=True):
            found[start + place] = (rank, alerts)
    return found


def _of_both(sides: Sequence[dict[int, tuple[float, bool]]], place: int) -> tuple[float, float, bool, bool]:
    (new, new_alerts), (old, old_alerts) = (side[place] for side in sides)
    return new, old, new_alerts, old_alerts

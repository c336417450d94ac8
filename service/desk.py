"""What the service remembers, and where analysts and operators are served: the ledger and what follows it.

One thread brings in what other replicas wrote, once a second: keys, policies, verdicts. While the
ledger is out of reach, what is known stays in force, and scoring goes on.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

import sqlalchemy as sa
from msgspec import Struct

from models.errors import NearnormError
from service import auth, retraining
from service.auth import Caller, Keyring
from service.encode import Encoded
from service.errors import LedgerUnavailable
from service.events import EventLog, Scored
from service.figures import Figures
from service.ids import iso
from service.ledger import audit, labels
from service.ledger.database import Ledger
from service.ledger.labels import Standing
from service.ledger.migrate import migrate
from service.logs import log
from service.matching import Matches
from service.policies import InForce, Policies, usable
from service.policy import Policy, Ranks
from service.quotas import Quota
from service.retraining import Rule
from service.scores import Scores
from service.settings import Settings
from service.slots import LoadedModel
from service.wire import Id, Matched

FOLLOW_SECONDS = 1.0
FORGOTTEN_AFTER = 1800.0  # seconds without the ledger after which verdicts are read anew: see erasure.prune


class Noted(Struct, frozen=True):
    """What /score adds to its answer: by the index of a row among those scored."""

    event_ids: Mapping[int, str]
    matched: Mapping[int, Matched]


NOTHING = Noted({}, {})


class _Verdicts:
    """One model's verdicts in memory, and up to which number of the clock they are known."""

    def __init__(self) -> None:
        self.matches = Matches()
        self.known = 0

    def refresh(self, connection: sa.Connection, model: str) -> None:
        new = labels.changed_since(connection, model, self.known)
        if new:
            self.matches.learn(new)
            self.known = new[-1].change


class Desk:
    """Start it before the models are loaded, close it after the last answer."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for a database URL that cannot be used."""
        self.settings = settings
        self.ledger = Ledger.at(settings.database_url, settings.home)
        quota = Quota(settings.rows_per_second, settings.requests_per_second)
        self.keyring = Keyring(settings.host, settings.allow_anonymous, quota)
        self.log = EventLog(self.ledger, settings.audit_rate, settings.event_rows, settings.event_days)
        self.policies = Policies()
        self._verdicts: dict[str, _Verdicts] = {}
        self._models: Callable[[], Mapping[str, LoadedModel]] = dict
        self._figures: Figures | None = None
        self._outdated: set[str] = set()
        self._heard = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self, models: Callable[[], Mapping[str, LoadedModel]], figures: Figures | None = None) -> None:
        """Bring the ledger up to date and follow it; `models` tells which ones serve.

        Raises NearnormError where the ledger cannot be opened, or the door would stand open.
        """
        self._models = models
        self._figures = figures
        try:
            migrate(self.ledger)
            with self.ledger.read() as connection:
                auth.check_door(connection, self.settings.host, self.settings.allow_anonymous)
                self.keyring.refresh(connection)
        except (LedgerUnavailable, OSError) as error:
            raise NearnormError(f"the ledger cannot be opened: {error}") from None
        self.log.start()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self.log.stop()
        self.ledger.close()

    def prepare(self, model: LoadedModel) -> None:
        """Give a model that is about to serve its policy and its verdicts. Runs in a thread."""
        name, core = model.ref.name, model.manifest.core
        verdicts = self._verdicts.setdefault(name, _Verdicts())
        with contextlib.suppress(LedgerUnavailable), self.ledger.read() as connection:
            self.policies.refresh(connection, name, core)
            verdicts.refresh(connection, name)
        verdicts.matches.prepare(core.features)
        self._apply(model)

    def note(self, model: LoadedModel, encoded: Encoded, scores: Scores, ids: list[Id] | None) -> Noted:
        """Let what analysts said decide, and keep what is to be kept. Changes `scores.anomaly`."""
        name, alert = model.ref.name, scores.anomaly
        found = self._verdicts[name].matches.find(model.encoder.schema, encoded)
        matched = {}
        if found:
            scores.anomaly = list(alert)
            in_force = self.policies.of(name)
            for index, standing in found.items():
                matched[index] = _judge(scores, index, standing, in_force)
            alert = list(map(bool.__or__, alert, scores.anomaly))
        picked = self.log.pick(name, scores.percentile, alert)
        if not picked.rows:
            return Noted({}, matched) if matched else NOTHING
        batch = Scored(
            name,
            model.ref.version,
            model.encoder,
            encoded,
            scores.score,
            scores.percentile,
            alert,
            scores.anomaly,
            scores.prototype,
            ids,
        )
        return Noted(self.log.keep(batch, picked), matched)

    def learn(self, model: str, standings: list[Standing]) -> None:
        """Verdicts of a request that was just committed act at once here; replicas follow."""
        if standings:
            self._verdicts[model].matches.learn(standings)

    def adopt(self, model: LoadedModel, new: InForce) -> None:
        """A policy that was just committed acts at once here; replicas follow."""
        self.policies.adopt(model.ref.name, new)
        self._apply(model)

    async def told(self, caller: Caller, action: str, subject: str, **detail: object) -> None:
        """Note what happened outside the ledger. It did happen: that the trail is out of reach is logged."""
        try:
            await self.ledger.written(lambda c: audit.note(c, caller.name, action, subject, **detail))
        except LedgerUnavailable as error:
            log.error("not in the audit trail", by=caller.name, action=action, problem=str(error), **detail)

    def _apply(self, model: LoadedModel) -> None:
        in_force = self.policies.of(model.ref.name)
        if in_force is None:
            return
        core = model.manifest.core
        share = usable(core, in_force.share)
        if share != model.ranks.policy.budget:
            model.ranks = Ranks(core.reference.scores, Policy(share))

    def _follow(self) -> None:
        told = False
        while not self._stop.wait(FOLLOW_SECONDS):
            try:
                self.refresh()
                told = False
            except LedgerUnavailable as error:
                if not told:
                    log.warning("the ledger is out of reach", problem=str(error))
                told = True
            except Exception as error:
                log.error("following the ledger failed", exc_info=error)

    def refresh(self) -> None:
        """Take up what others wrote. Raises LedgerUnavailable."""
        anew = time.monotonic() - self._heard > FORGOTTEN_AFTER
        loaded = self._models()
        with self.ledger.read() as connection:
            self.keyring.refresh(connection)
            for name, model in loaded.items():
                self.policies.refresh(connection, name, model.manifest.core)
                verdicts = _Verdicts() if anew else self._verdicts[name]
                verdicts.refresh(connection, name)
                self._verdicts[name] = verdicts
            if self._figures and self._figures.due:
                self._figures.refresh(connection, loaded)
        for model in loaded.values():
            self._apply(model)
            if self.settings.retrain_on_drift and model.drift.lasting:
                self._retrain(model)
        self._heard = time.monotonic()

    def _retrain(self, model: LoadedModel) -> None:
        """Once for a version: a model that its successor could not beat is not tried again and again."""
        if model.ref.version in self._outdated:
            return
        with self.ledger.write() as connection:
            job = retraining.drifted(connection, model.ref.name, Rule.of(self.settings))
        self._outdated.add(model.ref.version)
        log.warning("retraining after drift", model=model.ref.name, job_id=job.job_id)


def _judge(scores: Scores, index: int, standing: Standing, in_force: InForce | None) -> Matched:
    """The verdict of analysts on an equal record; a conflict among them decides nothing."""
    told = Matched(standing.feedback_id, standing.verdict)
    if standing.verdict == "anomaly":
        scores.anomaly[index] = True
    elif standing.verdict == "normal" and in_force and (until := in_force.suppresses(standing.at)):
        told.suppressed = scores.anomaly[index]
        told.suppresses_until = iso(until)
        scores.anomaly[index] = False
    return told

"""Brings in what other replicas wrote to the ledger, once a second: keys, sessions, policies, verdicts.

However many models there are, one look at the ledger's clock tells whether anybody wrote, and of which models
to read: those alone are read again.

While the ledger is out of reach, what is known stays in force, and scoring goes on.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from nearnorm.models.conformal import Policy, Ranks, usable_budget
from nearnorm.models.store.folder import DEFAULT_MODEL, Activation
from nearnorm.service.access.keyring import Keyring
from nearnorm.service.access.line_quotas import LineQuotas
from nearnorm.service.access.sessions import Sessions
from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.feedback.verdict_cache import VerdictCache
from nearnorm.service.ledger import clock
from nearnorm.service.ledger.begin_anew import (
    STARTER,
    FirstOwn,
    after_starter,
    begin_anew,
    first_own,
    set_aside_late,
)
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import policy, swaps
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.feedback.labels import Standing
from nearnorm.service.logs import log
from nearnorm.service.metrics.collectors import Figures
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.stand_in import stand_in
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.policies import InForce, Policies
from nearnorm.service.verdict.solve import Ground

FOLLOWING = "following the ledger"
FOLLOW_SECONDS = 1.0
LATE_SECONDS = 30.0  # after an own model came, in which the starter may still write events
LEFT_SECONDS = 120.0  # after a model left memory, in which a request may still be on its way to its verdicts
FORGOTTEN_AFTER = 1800.0  # seconds without the ledger after which verdicts are read anew: see erasure.prune


class _Clock(NamedTuple):
    """Up to which of the ledger's changes something was read."""

    labels: int
    policies: int


_NOTHING_READ = _Clock(-1, -1)


class Follower:
    """One thread, from `start` to `close`."""

    def __init__(
        self,
        background: Background,
        ledger: Ledger,
        keyring: Keyring,
        sessions: Sessions,
        policies: Policies,
        verdicts: VerdictCache,
        quotas: LineQuotas,
        drift_rule: Rule | None,
    ) -> None:
        """`drift_rule`: how a retraining is asked for when a model drifts; None: never."""
        self._background = background
        self._ledger = ledger
        self._keyring = keyring
        self._sessions = sessions
        self._policies = policies
        self._verdicts = verdicts
        self._quotas = quotas
        self._drift_rule = drift_rule
        self._models: Callable[[], Mapping[str, LoadedModel]] = dict
        self._activations: Callable[[], Sequence[Activation]] = tuple
        self._begun: FirstOwn | None = None  # noticed by this process
        self._begun_at = 0.0
        self.swap_problems: Mapping[tuple[str, str], str] = {}
        """What the watch after a swap has against versions, by model and version."""
        self._figures: Figures | None = None
        self._outdated: set[str] = set()
        self._followed: dict[str, str] = {}  # versions by model, known as at `_clock`
        self._clock = _NOTHING_READ
        self._marking = threading.Lock()
        self._refreshing = threading.Lock()
        self._stood_in: set[tuple[str, str]] = set()  # versions by model that were here before
        self._solved: dict[str, int] = {}  # rows that models had scored when their budgets were solved
        self._left: dict[str, float] = {}  # since when models are out of memory whose verdicts are not
        self._reaches_ledger = True
        self._heard = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(
        self,
        models: Callable[[], Mapping[str, LoadedModel]],
        figures: Figures | None = None,
        activations: Callable[[], Sequence[Activation]] = tuple,
    ) -> None:
        """`models` tells which ones serve; `figures` are read along, when they are due; `activations` is the
        store's log as last read."""
        self._models = models
        self._activations = activations
        self._figures = figures
        self._thread = self._background.start_thread(FOLLOWING, self._follow)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def prepare(self, model: LoadedModel) -> None:
        """Give a model that is about to serve its policy and its verdicts. Runs in a thread."""
        name = model.ref.name
        with contextlib.suppress(LedgerUnavailable):
            if not self._reaches_ledger:  # and a request may wait for this model
                raise LedgerUnavailable("the ledger is out of reach")
            self._stand_in(model)
            with self._ledger.read() as connection:
                now = _Clock(*clock.read(connection, "labels", "policies"))
                self._verdicts.refresh(connection, name)
                self._policies.refresh(connection, self.ground(model), policies.SOLVE_IDLE_EVERY)
            with self._marking:
                if now == self._clock:  # nothing is to be read again
                    self._followed[name] = model.ref.version
        self._verdicts.prepare(name, model.manifest.core.features)
        model.quota = self._quotas.of(name)
        self._apply(model)

    def adopt(self, model: LoadedModel, new: InForce) -> None:
        """A policy that was just committed acts at once here; replicas follow."""
        self._policies.adopt(model.ref.name, new)
        self._apply(model)

    def learn(self, model: LoadedModel, standings: list[Standing]) -> None:
        """Verdicts that were just committed act at once here: on equal records, and on the reference."""
        if standings:
            self._verdicts.learn(model.ref.name, standings)
            self._apply(model)

    def refresh(self) -> None:
        """Take up what others wrote, one after the other: nothing that was read before is put in the place of
        what was read after it. Raises LedgerUnavailable."""
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        anew = time.monotonic() - self._heard > FORGOTTEN_AFTER
        loaded = self._models()
        anew = self._begin_anew(loaded.get(DEFAULT_MODEL)) or anew
        versions = {name: model.ref.version for name, model in loaded.items()}
        with self._ledger.read() as connection:
            self._keyring.refresh(connection)
            self._sessions.refresh(connection)
            self._quotas.refresh(connection)
            now = _Clock(*clock.read(connection, "labels", "policies"))  # before what it tells of
            behind = set(versions) if anew else self._behind(connection, loaded, now)
            for name in behind:
                self._verdicts.refresh(connection, name, anew)
                self._policies.refresh(connection, self.ground(loaded[name]))
            problems = swaps.problems(connection)
            if self._figures and self._figures.due:
                self._figures.refresh(connection)
        with self._marking:
            self._followed, self._clock = versions, now
        for name in behind:
            self._apply(loaded[name])
        self.swap_problems = problems
        for name, model in loaded.items():
            model.quota = self._quotas.of(name)
            model.watch_problem = problems.get((name, model.ref.version))
            if self._drift_rule and (model.drift.lasting or model.novelty_watch.ceased):
                self._retrain(model, self._drift_rule)
        self._forget_but(loaded)
        self._heard = time.monotonic()

    def ground(self, model: LoadedModel) -> Ground:
        """What the model's verdicts stand on, as people have reviewed it so far."""
        reference = model.manifest.core.reference
        confirmed = self._verdicts.of(model.ref.name).anomalies(row.digest for row in reference.review)
        return Ground.of(model.manifest, model.ref.name, confirmed)

    def _behind(self, connection: sa.Connection, loaded: Mapping[str, LoadedModel], now: _Clock) -> set[str]:
        """The models that have to be read again: new ones, those that others wrote to, those that are due."""
        known, before = self._followed, self._clock
        old = [name for name, model in loaded.items() if known.get(name) == model.ref.version]
        rows = {name: loaded[name].counted.scored for name in old}
        due = self._policies.due(old, {name for name in old if rows[name] != self._solved.get(name)})
        self._solved |= {name: rows[name] for name in due}
        found = loaded.keys() - set(old) | set(due)
        if now.labels != before.labels:
            labelled = labels.models_changed_since(connection, old, before.labels)
            for name in labelled:  # budgets are solved by verdicts, too
                self._solved.pop(name, None)
            found |= labelled
        if now.policies != before.policies:
            newest = policy.newest_versions(connection, old)
            found |= {name for name in old if newest.get(name, 0) != self._policies.version_of(name)}
        return found

    def _forget_but(self, loaded: Mapping[str, LoadedModel]) -> None:
        """Hold no verdicts of models that left memory: who is loaded again reads them again."""
        now = time.monotonic()
        gone = self._verdicts.models() - loaded.keys()
        self._left = {name: self._left.get(name, now) for name in gone}
        for name, since in self._left.items():
            if now - since >= LEFT_SECONDS:
                self._verdicts.forget(name)

    def _begin_anew(self, model: LoadedModel | None) -> bool:
        """Once the first own model serves after the starter: set aside what was before, and what comes late.

        Whether this process has just noticed it: then it reads verdicts from the beginning.
        """
        if self._begun is not None:
            if time.monotonic() - self._begun_at < LATE_SECONDS:
                with self._ledger.write() as connection:
                    set_aside_late(connection, self._begun)
            return False
        entries = after_starter(self._activations())
        if model is None or not entries:
            return False
        with self._ledger.read() as connection:
            own = first_own(connection, entries)
        if own is None or model.ref.version in own.before:
            return False
        with self._ledger.write() as connection:
            if begin_anew(connection, own):
                policies.begin_anew(connection, self.ground(model), own.at, STARTER)
                log.info("the model `default` begins anew after the starter")
        self._begun, self._begun_at = own, time.monotonic()
        return True

    def _apply(self, model: LoadedModel) -> None:
        in_force = self._policies.of(model.ref.name)
        if in_force is None or in_force.model_version != model.ref.version:
            return
        scores, solved = self.ground(model).reference, in_force.solved
        ranks = model.ranks
        share = usable_budget(solved.share, len(scores))
        same = (share, solved.threshold) == (ranks.policy.budget, ranks.threshold)
        if not same or not np.array_equal(scores, ranks.reference):
            model.ranks = Ranks(scores, Policy(share), solved.threshold)
        model.held_from = solved.held_from
        model.alert_on_novel = in_force.policy.alert_on_novel

    def _stand_in(self, model: LoadedModel) -> None:
        """A version without traffic of its own gets the events of the ones before it, scored again."""
        ref = model.ref.name, model.ref.version
        if ref in self._stood_in:
            return
        with self._ledger.read() as connection:
            known = traffic.is_known(connection, *ref)
            counted = [] if known else stand_in(connection, model)
        if counted:
            with self._ledger.write() as connection:
                traffic.put(connection, traffic.RESCORED, counted)
        self._stood_in.add(ref)

    def _follow(self) -> None:
        warned = False
        while not self._stop.wait(FOLLOW_SECONDS):
            try:
                self.refresh()
                self._reaches_ledger, warned = True, False
                if damage := self._ledger.damage:  # elsewhere than where it was read just now
                    self._background.waits(FOLLOWING, damage.detail)
                else:
                    self._background.works(FOLLOWING)
            except LedgerUnavailable as error:
                if not warned:
                    log.warning("the ledger is out of reach", problem=str(error))
                self._reaches_ledger, warned = False, True
                self._background.waits(FOLLOWING, error.detail)
            except Exception as error:  # following goes on, whatever it was
                self._background.failed(FOLLOWING, error)

    def _retrain(self, model: LoadedModel, rule: Rule) -> None:
        """Once for a version, whatever becomes of it."""
        if model.ref.version in self._outdated:
            return
        with self._ledger.write() as connection:
            job = requests.drifted(connection, model.ref.name, model.ref.version, rule)
        self._outdated.add(model.ref.version)
        if job is not None:
            log.warning("retraining after drift", model=model.ref.name, job_id=job.job_id)

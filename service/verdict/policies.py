"""The policy in force for each model: versioned, undone by a call, the same in every replica."""

import math
import threading
import time
from collections.abc import Collection, Iterable
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict, replace

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.conformal import default_policy, lowest_anomaly, usable_budget
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.errors import ConfigError
from nearnorm.service.errors import Conflict, InvalidRequest
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import policy
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.verdict.budget import NormalShare
from nearnorm.service.verdict.solve import Ground, Solved, by_default, solve

SOLVE_EVERY = 60.0  # seconds after which a budget is solved anew: traffic and verdicts change
SOLVE_IDLE_EVERY = 600.0  # where models are many, of one that nobody asked for here
FEW = 20
"""Models up to which every budget is solved anew as it is due."""
SOLVED_AT_ONCE = 4
"""Budgets of more of them that are solved anew in one look at the ledger: each takes milliseconds."""
LONGEST_SUPPRESSION = 365.0
_DAY_MS = 24 * 3600 * 1000


class InForce(Struct, frozen=True):
    """A policy and what it comes to now, for one version of the model; `at` is monotonic.

    `threshold` is the lowest score that alerts."""

    policy: PolicyVersion
    model_version: str
    line: str
    threshold: float
    rows: int  # of the reference that it was solved by
    solved: Solved
    at: float

    @property
    def share(self) -> float:
        """The share of normal traffic that is as high as the threshold."""
        return self.solved.share

    def suppresses(self, confirmed_at: int) -> int | None:
        """Until when (ms) a normal confirmed then suppresses alerts; None: it does not, or not any more."""
        if not self.policy.suppress_confirmed_normals:
            return None
        until = confirmed_at + int(self.policy.suppress_days * _DAY_MS)
        return until if until > now_ms() else None

    def as_dict(self) -> dict[str, Any]:
        solved, forecast = self.solved, self.solved.forecast
        rows = solved.rows_a_day
        found = {
            "version": self.policy.version,
            "default": not self.policy.version,
            "budget": self.policy.budget,
            "threshold": self.threshold,
            "share": round(solved.share, 9),
            "promised": solved.promised(),
            "raised": asdict(solved.raised),
            "budget_exceeded": solved.exceeded,
            "problem": solved.problem,
            "warnings": solved.doubts or None,
            "reference": {"reviewable": solved.reviewable, "reviewed": solved.reviewed},
            "missing": solved.missing(),
            "suppress_confirmed_normals": self.policy.suppress_confirmed_normals,
            "suppress_days": self.policy.suppress_days,
            "alert_on_novel": self.policy.alert_on_novel,
            "at": iso(self.policy.at) if self.policy.version else None,
            "by": self.policy.actor if self.policy.version else None,
        }
        unknown = {  # null until it is known: `missing` says why
            "forecast": forecast and {name: round(value, 2) for name, value in asdict(forecast).items()},
            "expected_alert_rate": solved.expected_alert_rate,
            "expected_alerts_per_day": forecast and round(forecast.mean, 3),
            "traffic_per_day": rows and round(rows, 1),
        }
        return {name: value for name, value in found.items() if value is not None} | unknown


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be different; what is left out stays."""

    model: str = "default"
    budget: str | None = None
    suppress_confirmed_normals: bool | None = None
    suppress_days: float | None = None
    alert_on_novel: bool | None = None


class Policies:
    """What is in force, by model. Threads write, the event loop reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_force: dict[str, InForce] = {}

    def of(self, model: str) -> InForce | None:
        return self._in_force.get(model)

    def version_of(self, model: str) -> int:
        """The number of a model's policy in force; 0: the default, or nothing is known."""
        known = self._in_force.get(model)
        return known.policy.version if known else 0

    def due(self, models: Iterable[str], busy: Collection[str]) -> list[str]:
        """Those of the models whose budgets are to be solved anew, longest due first, and not all at once
        where there are many. `busy` are those that were asked for since they were."""
        now = time.monotonic()
        found = [(known.at, model) for model in models if (known := self._in_force.get(model))]
        few = len(found) <= FEW
        due = sorted(
            (at, model)
            for at, model in found
            if now - at >= (SOLVE_EVERY if few or model in busy else SOLVE_IDLE_EVERY)
        )
        return [model for _, model in (due if few else due[:SOLVED_AT_ONCE])]

    def refresh(self, connection: sa.Connection, ground: Ground, after: float | None = None) -> None:
        """Take up the newest version, and solve it anew where the ground has changed, or after so many
        seconds (None: SOLVE_EVERY)."""
        version = _current(connection, ground)
        known, rows = self._in_force.get(ground.model), len(ground.reference)
        same = known and (known.policy, known.model_version, known.rows) == (version, ground.version, rows)
        if known and same and time.monotonic() - known.at < (SOLVE_EVERY if after is None else after):
            return
        self.adopt(ground.model, _solved_or_kept(connection, ground, version, known))

    def adopt(self, model: str, new: InForce) -> None:
        """An older version than the known one of the same line changes nothing."""
        with self._lock:
            known = self._in_force.get(model)
            if known is None or known.line != new.line or new.policy.version >= known.policy.version:
                self._in_force[model] = new


def current(connection: sa.Connection, ground: Ground, known: InForce | None) -> InForce:
    """What the ledger says is in force, as it comes to now; what cannot be solved stays as it was."""
    return _solved_or_kept(connection, ground, _current(connection, ground), known)


def at(connection: sa.Connection, ground: Ground, when: int | None) -> PolicyVersion:
    """The version that was in force at a time (ms), whatever it came to; None: now."""
    return policy.current(connection, ground.model, ground.line, when) or _default(ground)


def share_in_force(connection: sa.Connection, bundle: Bundle, model: str) -> float:
    """The share of a version's reference that the policy of `model` comes to, as fine as that allows.

    Without what labels on live alerts say of it: another version has none."""
    ground = Ground.of(bundle.manifest, model)
    solved = current(connection, ground, None).solved
    share = solved.budget.share if isinstance(solved.budget, NormalShare) else solved.share
    return usable_budget(share, len(ground.reference))


def put(connection: sa.Connection, change: Change, ground: Ground, actor: str) -> tuple[InForce, InForce]:
    """Write a new version; the old one and the new. Raises InvalidRequest."""
    wishes = (change.budget, change.suppress_confirmed_normals, change.suppress_days, change.alert_on_novel)
    if all(wish is None for wish in wishes):
        raise InvalidRequest(
            "send `budget`, `suppress_confirmed_normals`, `suppress_days` or `alert_on_novel`"
        )
    days = change.suppress_days
    if days is not None and not 0.0 < days <= LONGEST_SUPPRESSION:
        raise InvalidRequest(
            f"suppress_days: give more than 0 and at most {LONGEST_SUPPRESSION:.0f} days",
            field="suppress_days",
        )
    tick(connection, "policies")
    now = _current(connection, ground)
    suppress = change.suppress_confirmed_normals
    wanted = replace(
        now,
        version=_next(connection, ground.model),
        budget=now.budget if change.budget is None else change.budget.strip(),
        suppress_confirmed_normals=now.suppress_confirmed_normals if suppress is None else suppress,
        suppress_days=now.suppress_days if days is None else days,
        alert_on_novel=now.alert_on_novel if change.alert_on_novel is None else change.alert_on_novel,
        beneath=now.version,
        at=now_ms(),
        actor=actor,
        line=ground.line,
    )
    return _write(connection, ground, now, wanted, "policy.put")


def beneath(connection: sa.Connection, ground: Ground) -> PolicyVersion | None:
    """What an undo would put back; None: the default is in force."""
    now = policy.current(connection, ground.model, ground.line)
    if now is None or now.beneath is None:
        return None
    return policy.version(connection, ground.model, now.beneath) or _default(ground)


def undo(connection: sa.Connection, ground: Ground, actor: str) -> tuple[InForce, InForce]:
    """Put the policy before this one back, as a new version. Raises Conflict where there is none."""
    tick(connection, "policies")
    now, before = policy.current(connection, ground.model, ground.line), beneath(connection, ground)
    if now is None or before is None:
        raise Conflict("nothing to undo: the default policy is in force")
    number = _next(connection, ground.model)
    wanted = replace(before, version=number, at=now_ms(), actor=actor, line=ground.line)
    return _write(connection, ground, now, wanted, "policy.undo")


def begin_anew(connection: sa.Connection, ground: Ground, before: int, actor: str) -> None:
    """Put the default in the place of what was set before a time (ms), for a model of the same columns."""
    tick(connection, "policies")
    now = policy.current(connection, ground.model, ground.line)
    if now is None or now.at >= before:
        return
    number = _next(connection, ground.model)
    anew = replace(_default(ground), version=number, at=now_ms(), actor=actor)
    policy.add(connection, ground.model, anew)
    audit.note(connection, actor, "policy.put", ground.model, version=number, budget=anew.budget)


def go_on(connection: sa.Connection, model: str, before: str, after: str, actor: str) -> None:
    """A retraining on data with other columns goes on with its champion's policy, unless its line has one."""
    tick(connection, "policies")
    now = policy.current(connection, model, before)
    if now is None or policy.current(connection, model, after) is not None:
        return
    number = _next(connection, model)
    wanted = replace(now, version=number, beneath=0, at=now_ms(), actor=actor, line=after)
    policy.add(connection, model, wanted)
    audit.note(connection, actor, "policy.put", model, version=number, budget=now.budget)


def describe(connection: sa.Connection, model: str, features: FeatureSchema, reference_rows: int) -> str:
    """Which policy a version of `model` has, in a sentence."""
    now = policy.current(connection, model, features.line)
    if now is not None:
        return f'policy {now.version} is in force: "{now.budget}"'
    sentence = f'the default policy is in force: "{_default_budget(reference_rows)}"'
    other = policy.newest(connection, model)
    if other is None:
        return sentence
    return (
        f'{sentence}; policy {other.version} ("{other.budget}") was set for a model of other columns, and '
        "comes back with one"
    )


def _current(connection: sa.Connection, ground: Ground) -> PolicyVersion:
    return policy.current(connection, ground.model, ground.line) or _default(ground)


def _next(connection: sa.Connection, model: str) -> int:
    newest = policy.newest(connection, model)
    return newest.version + 1 if newest else 1


def _write(
    connection: sa.Connection, ground: Ground, now: PolicyVersion, wanted: PolicyVersion, action: str
) -> tuple[InForce, InForce]:
    try:
        new = solved(connection, ground, wanted)
    except ConfigError as error:
        raise InvalidRequest(str(error), field="budget") from None
    policy.add(connection, ground.model, wanted)
    audit.note(connection, wanted.actor, action, ground.model, version=wanted.version, budget=wanted.budget)
    return _solved_or_kept(connection, ground, now, None), new


def _default(ground: Ground) -> PolicyVersion:
    budget = _default_budget(len(ground.reference))
    return PolicyVersion(0, budget, False, 30.0, True, None, 0, "", ground.line)


def _default_budget(reference_rows: int) -> str:
    share = default_policy(reference_rows).budget
    percent = math.ceil(share * 1e8 - 1e-3) / 1e6  # never finer than the reference allows
    return f"{percent:.6f}".rstrip("0").rstrip(".") + "%"


def solved(connection: sa.Connection, ground: Ground, version: PolicyVersion) -> InForce:
    """What a policy comes to. Raises ConfigError for a budget that cannot be read or solved."""
    return _in_force(ground, version, solve(connection, ground, version))


def _solved_or_kept(
    connection: sa.Connection, ground: Ground, version: PolicyVersion, known: InForce | None
) -> InForce:
    """What cannot be solved, as after a swap to a reference too small for it, is told, and what was solved
    before stands, or the default."""
    try:
        return solved(connection, ground, version)
    except ConfigError as error:
        same = known is not None and known.model_version == ground.version
        kept = known.solved if known and same else by_default(connection, ground)
        return _in_force(ground, version, replace(kept, problem=str(error)))


def _in_force(ground: Ground, version: PolicyVersion, solved: Solved) -> InForce:
    rows = len(ground.reference)
    if solved.threshold is None:
        lowest = lowest_anomaly(ground.reference, usable_budget(solved.share, rows))
    else:
        lowest = float(np.float32(solved.threshold))  # as scores are compared
    return InForce(version, ground.version, ground.line, lowest, rows, solved, time.monotonic())

"""The policy in force for each model: versioned, undone by a call, the same in every replica."""

import math
import threading
import time
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.models.conformal import Policy, Ranks, default_policy
from nearnorm.models.errors import ConfigError
from nearnorm.models.manifest import Core
from nearnorm.service.errors import Conflict, InvalidRequest
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.tables import audit, policy
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.verdict import budget
from nearnorm.service.verdict.budget import PerDay, Traffic

SOLVE_EVERY = 300.0  # seconds after which a number a day is solved anew: traffic changes
RECENT_DAYS = 7  # of traffic that it is solved from: every day of the week is among them
LONGEST_SUPPRESSION = 365.0
_DAY_MS = 24 * 3600 * 1000
_HOUR_MS = 3600 * 1000


class InForce(Struct, frozen=True):
    """A policy and what it comes to: `share` of normal traffic, solved from `traffic` where need be."""

    policy: PolicyVersion
    share: float
    traffic: Traffic
    solved: float

    def suppresses(self, confirmed_at: int) -> int | None:
        """Until when (ms) a normal confirmed then suppresses alerts; None: it does not, or not any more."""
        if not self.policy.suppress_confirmed_normals:
            return None
        until = confirmed_at + int(self.policy.suppress_days * _DAY_MS)
        return until if until > now_ms() else None

    def as_dict(self) -> dict[str, Any]:
        rate = self.traffic.rate(self.share)
        known = self.traffic.total > 0
        told = {
            "version": self.policy.version,
            "budget": self.policy.budget,
            "share": round(self.share, 9),
            "expected_alert_rate": round(rate, 9),
            "expected_alerts_per_day": round(rate * self.traffic.per_day, 3) if known else None,
            "traffic_per_day": round(self.traffic.per_day, 1) if known else None,
            "suppress_confirmed_normals": self.policy.suppress_confirmed_normals,
            "suppress_days": self.policy.suppress_days,
            "alert_on_novel": self.policy.alert_on_novel,
            "at": iso(self.policy.at) if self.policy.version else None,
            "by": self.policy.actor if self.policy.version else None,
        }
        return {name: value for name, value in told.items() if value is not None}


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

    def refresh(self, connection: sa.Connection, model: str, core: Core) -> None:
        """Take up the newest version, and solve a number a day anew when that is due."""
        version = policy.current(connection, model) or _default(core)
        known = self._in_force.get(model)
        if known and known.policy == version and time.monotonic() - known.solved < SOLVE_EVERY:
            return
        self.adopt(model, _solved_or_kept(connection, model, version, core, known))

    def adopt(self, model: str, new: InForce) -> None:
        """An older version than the known one changes nothing."""
        with self._lock:
            known = self._in_force.get(model)
            if known is None or new.policy.version >= known.policy.version:
                self._in_force[model] = new


def current(connection: sa.Connection, model: str, core: Core, known: InForce | None) -> InForce:
    """What the ledger says is in force, solved as `known` here, with the traffic as it is now."""
    version = policy.current(connection, model) or _default(core)
    if known and known.policy == version:
        return replace(known, traffic=_recent(connection, model))
    return _solved_or_kept(connection, model, version, core, known)


def put(connection: sa.Connection, change: Change, core: Core, actor: str) -> tuple[InForce, InForce]:
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
    now = policy.current(connection, change.model) or _default(core)
    suppress = change.suppress_confirmed_normals
    wanted = replace(
        now,
        version=now.version + 1,
        budget=now.budget if change.budget is None else change.budget.strip(),
        suppress_confirmed_normals=now.suppress_confirmed_normals if suppress is None else suppress,
        suppress_days=now.suppress_days if days is None else days,
        alert_on_novel=now.alert_on_novel if change.alert_on_novel is None else change.alert_on_novel,
        beneath=now.version,
        at=now_ms(),
        actor=actor,
    )
    return _write(connection, change.model, now, wanted, core, "policy.put")


def undo(connection: sa.Connection, model: str, core: Core, actor: str) -> tuple[InForce, InForce]:
    """Put the policy before this one back, as a new version. Raises Conflict where there is none."""
    tick(connection, "policies")
    now = policy.current(connection, model)
    if now is None or now.beneath is None:
        raise Conflict("nothing to undo: the default policy is in force")
    before = policy.version(connection, model, now.beneath) or _default(core)
    wanted = replace(before, version=now.version + 1, at=now_ms(), actor=actor)
    return _write(connection, model, now, wanted, core, "policy.undo")


def _write(
    connection: sa.Connection, model: str, now: PolicyVersion, wanted: PolicyVersion, core: Core, action: str
) -> tuple[InForce, InForce]:
    try:
        new = _solved(connection, model, wanted, core)
        Ranks(core.reference.scores, Policy(new.share))
    except ConfigError as error:
        raise InvalidRequest(str(error), field="budget") from None
    policy.add(connection, model, wanted)
    audit.note(connection, wanted.actor, action, model, version=wanted.version, budget=wanted.budget)
    return _solved(connection, model, now, core), new


def _default(core: Core) -> PolicyVersion:
    share = default_policy(core.reference.rows).budget
    percent = math.ceil(share * 1e8 - 1e-3) / 1e6  # never finer than the reference allows
    return PolicyVersion(0, f"{percent:.6f}".rstrip("0").rstrip(".") + "%", False, 30.0, True, None, 0, "")


def _solved(connection: sa.Connection, model: str, version: PolicyVersion, core: Core) -> InForce:
    """Raises ConfigError for a budget that cannot be read or solved."""
    traffic = _recent(connection, model)
    wanted = budget.parse(version.budget) if version.version else None
    if wanted is None:
        share = default_policy(core.reference.rows).budget
    elif isinstance(wanted, PerDay):
        share = traffic.share_for(wanted.alerts)
    else:
        share = wanted.share
    return InForce(version, share, traffic, time.monotonic())


def _solved_or_kept(
    connection: sa.Connection, model: str, version: PolicyVersion, core: Core, known: InForce | None
) -> InForce:
    """A number a day without traffic for a week cannot be solved: what was solved before stands."""
    try:
        return _solved(connection, model, version, core)
    except ConfigError:
        share = known.share if known else default_policy(core.reference.rows).budget
        return InForce(version, share, _recent(connection, model), time.monotonic())


def _recent(connection: sa.Connection, model: str) -> Traffic:
    now = now_ms()
    since = now // _HOUR_MS - RECENT_DAYS * 24
    first = policy.first_hour(connection, model, since)
    if first is None:
        return Traffic({}, 1.0)
    days = max(now - first * _HOUR_MS, _HOUR_MS) / _DAY_MS
    return Traffic(policy.seen_since(connection, model, since), days)

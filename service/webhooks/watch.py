"""What has no row in the ledger and is told all the same: activations, drifts, parted budgets.

Each process looks for itself; the ledger sees to it that each is told once.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nearnorm.models.store.folder import Activation
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.webhooks import activation_log, conditions, outbox
from nearnorm.service.ledger.tables.webhooks.conditions import Condition
from nearnorm.service.serving.model import SeenTraffic
from nearnorm.service.verdict.policies import InForce, Policies

RENEW_SECONDS = 60.0
LOOK_SECONDS = 2.0
PARTED = 1.5
"""Times the forecast's upper end: as the rule NearnormBudgetParted has it."""


class StateWatch:
    """Called by one thread. `traffic` is what lines saw of theirs, whether or not their models are in memory;
    `activations` the store's log as last read."""

    def __init__(
        self,
        ledger: Ledger,
        policies: Policies,
        traffic: Callable[[], Mapping[str, SeenTraffic]],
        activations: Callable[[], Sequence[Activation]],
    ) -> None:
        self._ledger = ledger
        self._policies = policies
        self._traffic = traffic
        self._activations = activations
        self._holder = new_id()
        self._seen: frozenset[str] = frozenset()
        self._seen_at = -RENEW_SECONDS
        self._told: int | None = None
        self._looked = -LOOK_SECONDS

    def look(self, anybody_wants: bool) -> None:
        """Raises LedgerUnavailable."""
        self._follow_activations(self._activations())
        if not anybody_wants or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        seen = {
            one.subject: one
            for name, traffic in self._traffic().items()
            for one in (*_drifts(name, traffic), *_budget(name, self._policies.of(name)))
        }
        subjects, now = frozenset(seen), time.monotonic()
        if subjects != self._seen or now - self._seen_at >= RENEW_SECONDS:
            with self._ledger.write() as connection:
                conditions.see(connection, self._holder, seen, now_ms())
            self._seen, self._seen_at = subjects, now

    def _follow_activations(self, entries: Sequence[Activation]) -> None:
        """An entry of before anybody followed the log is no news."""
        newest = entries[-1].number if entries else 0
        if newest == self._told:
            return
        with self._ledger.write() as connection:
            told = activation_log.told(connection)
            if told is not None and told >= newest:  # by another process, or of a store before this one
                self._told = newest
                return
            if activation_log.move(connection, told, newest) and told is not None:
                for entry in entries:
                    if entry.number > told:
                        _announce(connection, entry)
        self._told = newest


def _announce(connection: Any, entry: Activation) -> None:  # noqa: ANN401 - a connection; no SQL here
    event = "activated" if entry.action == "activate" else "rolled_back"
    body = {"model": entry.model, "version": entry.version, "by": entry.by, "at": entry.at}
    if entry.reason is not None:
        body["reason"] = entry.reason
    outbox.announce(connection, "model", event, f"model:{entry.model}", body)


def _drifts(name: str, seen: SeenTraffic) -> list[Condition]:
    if not seen.drift.drifts:
        return []
    return [
        Condition(
            "drift",
            f"drift:{name}:{state.signal.kind}:{state.signal.name}",
            {
                "model": name,
                "model_version": seen.version,
                "signal": state.signal.name or state.signal.kind,
                "psi": round(state.psi, 4),
                "since": state.drifted_since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            },
        )
        for state in seen.drift.states()
        if state.drifted_since is not None
    ]


def _budget(name: str, in_force: InForce | None) -> list[Condition]:
    problems = [] if in_force is None else parted(in_force)
    if in_force is None or not problems:
        return []
    body = {
        "model": name,
        "model_version": in_force.model_version,
        "budget": in_force.policy.budget,
        "raised_in_a_day": in_force.solved.raised.day,
        "problems": problems,
    }
    return [Condition("budget", f"budget:{name}", body)]


def parted(in_force: InForce) -> list[str]:
    """Why what is raised is not what was promised, in sentences; none: it is."""
    solved = in_force.solved
    problems = [solved.problem] if solved.problem else []
    if solved.exceeded:
        problems.append("more alerts are raised than it allows, as the threshold may rise no further")
    if solved.forecast and solved.raised.day > PARTED * max(solved.forecast.high, 1.0):
        problems.append(
            f"{solved.raised.day:,} alerts were raised in a day, and {solved.forecast.high:,.0f} were "
            "forecast at most"
        )
    return [*problems, *solved.doubts]

"""What a file says against what the ledger holds, and the ledger changed to it: all of it, or nothing."""

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.errors import ConfigError
from nearnorm.models.some_of import some_of
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.access import keyring, line_quotas
from nearnorm.service.configuration.champions import ground_of
from nearnorm.service.configuration.file import KINDS, Labeller, Wanted, alike, key_of, quarantine_of, spelt
from nearnorm.service.errors import ServiceError
from nearnorm.service.feedback import analysts
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import keys, lines
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.retraining.jobs import turns
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.verdict import budget, policies
from nearnorm.service.verdict.budget import Budget
from nearnorm.service.verdict.policies import Change

_PLURALS = {kind: plural for plural, kind in KINDS.items()}


class Difference(Struct, frozen=True):
    """One key of the file: what is in force, and what will be, as the file spells them."""

    what: str
    now: str
    then: str


class Applied(Struct, frozen=True):
    """`effects`: what else comes of it, a sentence each."""

    differences: list[Difference]
    effects: list[str]


def apply(
    connection: sa.Connection, wanted: Wanted, champions: Mapping[str, Manifest], rule: Rule, actor: str
) -> Applied:
    """Change what differs; each change is in the trail as one made by itself, and the file beside them.

    Raises ConfigError naming file and key: the transaction is then not to be committed.
    """
    tick(connection, "policies")  # what is compared from here on stays so until it is changed
    tick(connection, "labels")
    applying = _Applying(connection, champions, rule, actor, wanted.file)
    try:
        for model, change in wanted.policies.items():
            applying.policy(model, change)
        for name, quota in wanted.quotas.items():
            applying.quota(name, quota)
        applying.lines(wanted.line_quotas, wanted.priorities)
        applying.quarantine(wanted.quarantine)
    except ConfigError as error:
        raise ConfigError(f"{wanted.file}: {error}") from None
    if applying.differences:
        changed = [difference.what for difference in applying.differences]
        subject = Path(wanted.file).name
        audit.note(connection, actor, "apply", subject, sha256=wanted.digest, changed=changed)
    return Applied(applying.differences, applying.effects)


class _Applying:
    """One file, in one transaction."""

    def __init__(
        self,
        connection: sa.Connection,
        champions: Mapping[str, Manifest],
        rule: Rule,
        actor: str,
        file: str,
    ) -> None:
        self.differences: list[Difference] = []
        self.effects: list[str] = []
        self._connection = connection
        self._champions = champions
        self._rule = rule
        self._actor = actor
        self._file = file

    def policy(self, model: str, change: Change) -> None:
        where = key_of("policy", model)
        if model not in self._champions:
            raise ConfigError(
                f"{where}: no model of this name has a champion: {alike(model, self._champions)}"
            )
        ground = ground_of(self._connection, self._champions, model)
        now = policies.at(self._connection, ground, None)
        differing = {
            name: value
            for name, value in asdict(change).items()
            if name != "model"
            and value is not None
            and not _same(value, getattr(now, name), f"{where}.{name}")
        }
        if not differing:
            return
        by_default = "" if now.version else " (default)"
        for name, value in differing.items():
            self._differs(f"{where}.{name}", spelt(getattr(now, name)) + by_default, spelt(value))
        try:
            _, new = policies.put(self._connection, Change(model=model, **differing), ground, self._actor)
        except ServiceError as error:
            raise ConfigError(f"{where}: {error.detail}") from None
        self.effects.extend(f"{where}: {doubt}" for doubt in new.solved.doubts)

    def quota(self, name: str, quota: Quota) -> None:
        active = {key.name: key for key in keys.every(self._connection) if key.revoked_at is None}
        if name not in active:
            raise ConfigError(
                f"{key_of('keys', name)}: no active API key has this name, and `nearnorm keys create` alone "
                f"makes one: {alike(name, active)}"
            )
        if self._limits_differ(active[name].quota, quota, "keys", name):
            keyring.limit(self._connection, active[name].key_id, quota, self._actor)

    def lines(self, quotas: Mapping[str, Quota], priorities: Mapping[str, int]) -> None:
        held, preferred = lines.quotas(self._connection), lines.priorities(self._connection)
        for model, quota in quotas.items():
            now, then = preferred.get(model, 1), priorities[model]
            try:
                if self._limits_differ(held.get(model, Quota()), quota, "models", model):
                    line_quotas.limit(self._connection, model, quota, self._actor)
                if then != now:
                    self._differs(key_of("models", model, "priority"), spelt(now), spelt(then))
                    turns.prefer(self._connection, model, then, self._actor)
            except ConfigError as error:
                raise ConfigError(f"{key_of('models', model)}: {error}") from None
            if model not in (serving := self._champions.keys() | {DEFAULT_MODEL}):
                self.effects.append(
                    f"{key_of('models', model)}: no model is named so yet, so it waits for one: there is "
                    f"{some_of(sorted(serving))}"
                )

    def quarantine(self, wanted: Mapping[Labeller, str | None]) -> None:
        every = [*quarantine.every(self._connection), *quarantine.of_lines(self._connection, EVERY_LINE)]
        in_force = {(q.kind, q.name, q.model): q for q in every}
        named: dict[Labeller, str] = {}
        for (kind, spelling, model), why in wanted.items():
            who = kind, analysts.labeller(self._connection, kind, spelling), model
            key = key_of(*quarantine_of(model), _PLURALS[kind], spelling)
            if who in named:
                raise ConfigError(f"{key}: is the same as {named[who]}: keep one of them")
            named[who] = key
            found = in_force.get(who)
            if (found is None) != (why is None):  # a reason is that of the day, and stays
                self._differs(key, spelt(found.why if found else False), spelt(False if why is None else why))
                self._put_or_release(who, key, why)

    def _put_or_release(self, who: Labeller, key: str, why: str | None) -> None:
        kind, name, model = who
        try:
            if why is None:
                effect = analysts.release(self._connection, kind, name, "by a file", self._actor, model)
            else:
                effect = analysts.put(self._connection, kind, name, why, self._actor, self._rule, model)
        except ServiceError as error:
            raise ConfigError(f"{key}: {error.detail}") from None
        counts = "counts again" if why is None else "counts no more"
        self.effects.append(f"{key}: what was said of {effect.records} records {counts}")
        if effect.job_id:
            self.effects.append(f"{key}: the training under way is cancelled, and begun again without")

    def _limits_differ(self, now: Quota, then: Quota, *where: str) -> bool:
        for limit, value in asdict(then).items():
            before = getattr(now, limit)
            if value != before:
                self._differs(key_of(*where, limit), spelt(before), spelt(value))
        return then != now

    def _differs(self, what: str, now: str, then: str) -> None:
        self.differences.append(Difference(what, now, then))


def _same(value: object, now: object, key: str) -> bool:
    """Budgets are the same that mean the same, as "1%" and "1% of normal". Raises ConfigError for none."""
    if not isinstance(value, str):
        return value == now
    try:
        wanted = budget.parse(value)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return wanted == _meaning(str(now))


def _meaning(text: str) -> Budget | str:
    """A budget in force; one that an older release took may be none to this one."""
    try:
        return budget.parse(text)
    except ConfigError:
        return text

"""What is in force, as the file that would bring it about: applied at once, it changes nothing."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from msgspec.structs import asdict

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.service.configuration.champions import ground_of
from nearnorm.service.configuration.file import KINDS, key_of, quarantine_of, spelt
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import keys
from nearnorm.service.ledger.tables import lines as of_lines
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.ledger.tables.feedback.quarantine import Quarantine
from nearnorm.service.ledger.tables.keys import Key
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.verdict import policies

_INTENT = ("budget", "suppress_confirmed_normals", "suppress_days", "alert_on_novel")


def export(connection: sa.Connection, champions: Mapping[str, Manifest]) -> str:
    """A text of TOML. Defaults stand in comments: they may change with a model. No secret is in it."""
    lines = ["# Written by `nearnorm export-config`; `nearnorm apply` brings it about."]
    for model in champions:
        now = policies.at(connection, ground_of(connection, champions, model), None)
        lines += ["", *_policy(model, now)]
    for key in keys.every(connection):
        if key.revoked_at is None:
            lines += ["", *_key(key)]
    quotas = of_lines.quotas(connection)
    preferred = {model: one for model, one in of_lines.priorities(connection).items() if one != 1}
    for model in sorted(quotas.keys() | preferred.keys()):
        lines += ["", *_line(model, quotas.get(model, Quota()), preferred.get(model))]
    lines += _quarantined(quarantine.every(connection), None)
    in_one = quarantine.of_lines(connection, EVERY_LINE)
    for model in sorted({q.model for q in in_one if q.model is not None}):
        lines += _quarantined([q for q in in_one if q.model == model], model)
    return "\n".join(lines) + "\n"


def _policy(model: str, now: PolicyVersion) -> Iterator[str]:
    mark = "" if now.version else "# "
    if mark:
        yield "# the default:"
    yield f"{mark}[{key_of('policy', model)}]"
    for name in _INTENT:
        yield f"{mark}{name} = {spelt(getattr(now, name))}"


def _key(key: Key) -> Iterator[str]:
    yield f"[{key_of('keys', key.name)}]  # {', '.join(sorted(key.roles))}"
    for name, value in asdict(key.quota).items():
        yield f"# {name}: as the settings say" if value is None else f"{name} = {value}"


def _line(model: str, quota: Quota, priority: int | None) -> Iterator[str]:
    yield f"[{key_of('models', model)}]"
    for name, value in quota.limits().items():
        yield f"{name} = {value}"
    if priority is not None:
        yield f"priority = {priority}"


def _quarantined(in_force: Sequence[Quarantine], model: str | None) -> Iterator[str]:
    for plural, kind in KINDS.items():
        named = [f"{key_of(q.name)} = {spelt(q.why)}" for q in in_force if q.kind == kind]
        if named:
            yield from ("", f"[{key_of(*quarantine_of(model), plural)}]", *named)

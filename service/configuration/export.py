"""What is in force, as the file that would bring it about: applied at once, it changes nothing."""

from collections.abc import Iterable, Iterator, Mapping

import sqlalchemy as sa
from msgspec.structs import asdict

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.service.configuration.champions import ground_of
from nearnorm.service.configuration.file import KINDS, key_of, spelt
from nearnorm.service.ledger.tables import keys
from nearnorm.service.ledger.tables.feedback import quarantine
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
    in_force = quarantine.every(connection)
    for plural, kind in KINDS.items():
        lines += _quarantined(plural, ((q.name, q.why) for q in in_force if q.kind == kind))
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


def _quarantined(plural: str, named: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"{key_of(name)} = {spelt(why)}" for name, why in named]
    return ["", f"[{key_of('quarantine', plural)}]", *lines] if lines else []

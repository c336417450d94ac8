"""The configuration file: what it may say, read and checked before anything is compared."""

import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from nearnorm.models.data.toml_text import quoted, toml_text
from nearnorm.models.errors import ConfigError
from nearnorm.models.some_of import some_of
from nearnorm.service.errors import misfit
from nearnorm.service.ledger.quota import MOST, Quota
from nearnorm.service.ledger.tables.feedback.quarantine import LabellerKind
from nearnorm.service.ledger.tables.lines import LIMITS, MOST_PRIORITY
from nearnorm.service.settings import PREFIX, Settings
from nearnorm.service.verdict.policies import Change

LARGEST = 2**20
"""Bytes of a file that is read."""
TABLES = ("policy", "keys", "models", "quarantine")
KINDS: dict[str, LabellerKind] = {"analysts": "analyst", "keys": "key"}
_CHANGEABLE = tuple(field.name for field in fields(Change) if field.name != "model")
_LIMITS = tuple(field.name for field in fields(Quota))
_RETENTION = tuple(name for name in Settings.model_fields if name.startswith("event_"))

T = TypeVar("T")
Labeller = tuple[LabellerKind, str, str | None]
"""Who, and in which model alone; None: in every one."""


class Wanted(Struct, frozen=True):
    """What a file says. What it does not name stays as it is.

    `policies`: by model, what its policy shall be, as far as it says. `quotas`: by API key, its whole quota.
    `line_quotas`, `priorities`: by the same models, all of what each may be asked for, and its retrainings'.
    `quarantine`: by who, and in which model (None: in every one), why; None: who is not in it. `digest`:
    SHA-256 of the file, for the trail.
    """

    file: str
    digest: str
    policies: Mapping[str, Change]
    quotas: Mapping[str, Quota]
    line_quotas: Mapping[str, Quota]
    priorities: Mapping[str, int]
    quarantine: Mapping[Labeller, str | None]


def read(path: Path) -> Wanted:
    """Raises ConfigError naming file, line or key, and the mend."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST:,} bytes: it is no configuration file")
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path} is not UTF-8 (at line {line}): save it as UTF-8") from None
    except ValueError as error:  # also numbers of thousands of digits
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply: tables are {_listed(TABLES)}") from None
    try:
        return _wanted(str(path), sha256(content).hexdigest(), document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def key_of(*parts: str) -> str:
    """A key as the file spells it: `policy."card payments".budget`."""
    return ".".join(map(quoted, parts))


def quarantine_of(model: str | None) -> tuple[str, ...]:
    """Where the file has who is in quarantine in a model alone; None: in every one."""
    return ("quarantine",) if model is None else ("quarantine", "models", model)


def _wanted(file: str, digest: str, document: dict[str, Any]) -> Wanted:
    for name in document:
        if name not in TABLES:
            raise ConfigError(_unknown_table(name))
    policies = {
        model: _policy(model, table) for model, table in _table(document.get("policy", {}), "policy").items()
    }
    quotas = {
        name: _quota(_known(table, _LIMITS, "keys", name), "keys", name)
        for name, table in _table(document.get("keys", {}), "keys").items()
    }
    line_quotas, priorities = {}, {}
    for model, value in _table(document.get("models", {}), "models").items():
        table = dict(_known(value, (*LIMITS, "priority"), "models", model))
        priorities[model] = _priority(table.pop("priority", 1), model)
        line_quotas[model] = _quota(table, "models", model)
    kinds = dict(_known(document.get("quarantine", {}), (*KINDS, "models"), "quarantine"))
    by_model = _table(kinds.pop("models", {}), "quarantine", "models")
    quarantine = _quarantine(kinds, None)
    for model, value in by_model.items():
        quarantine |= _quarantine(_known(value, KINDS, *quarantine_of(model)), model)
    return Wanted(file, digest, policies, quotas, line_quotas, priorities, quarantine)


def _policy(model: str, value: object) -> Change:
    table = _known(value, _CHANGEABLE, "policy", model)
    return _converted({**table, "model": model}, Change, "policy", model)


def _quota(table: dict[str, Any], *where: str) -> Quota:
    quota = _converted(table, Quota, *where)
    for limit, most in quota.limits().items():
        if most < 1 or most > MOST:
            raise ConfigError(
                f"{key_of(*where, limit)}: give 1 to {MOST}, or leave it out for none of its own"
            )
    return quota


def _priority(value: object, model: str) -> int:
    if type(value) is not int or not 1 <= value <= MOST_PRIORITY:  # true is none
        raise ConfigError(f"{key_of('models', model, 'priority')}: give a whole number, 1 to {MOST_PRIORITY}")
    return value


def _quarantine(kinds: dict[str, Any], model: str | None) -> dict[Labeller, str | None]:
    return {
        (KINDS[plural], name, model): _why(value, key_of(*quarantine_of(model), plural, name))
        for plural, table in kinds.items()
        for name, value in _table(table, *quarantine_of(model), plural).items()
    }


def _why(value: object, key: str) -> str | None:
    if value is False:
        return None
    if isinstance(value, str):
        return value
    raise ConfigError(f"{key}: give the reason as a text, or false for who shall be in no quarantine")


def _table(value: object, *where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key_of(*where)}: is a table: write [{key_of(*where)}]")
    return value


def _known(value: object, known: Collection[str], *where: str) -> dict[str, Any]:
    """A table of which every key is known."""
    table = _table(value, *where)
    for name in table:
        if name not in known:
            raise ConfigError(f"unknown key {key_of(*where, name)}: {alike(name, known)}")
    return table


def _converted(table: dict[str, Any], kind: type[T], *where: str) -> T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        message, field = misfit(error)
        if field is not None:
            message = message.removeprefix(f"{field}: ")
        message = message.replace(" | null", "")  # which TOML does not know
        raise ConfigError(f"{key_of(*where, *([field] if field else []))}: {message}") from None


def alike(name: str, known: Collection[str]) -> str:
    """What a misspelt name may have meant."""
    found = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {quoted(found[0])}?" if found else f"known are {_listed(known)}"


def _unknown_table(name: str) -> str:
    settings = [name] if name in Settings.model_fields else list(_RETENTION) if name == "retention" else []
    if settings:
        variables = ", ".join(PREFIX + setting.upper() for setting in settings)
        return (
            f"{name} is a setting of the process, which no file changes while it runs: leave it out, set "
            f"{variables} and restart"
        )
    if name == "webhooks":
        return "webhooks: Slack's addresses and PagerDuty's keys are secrets: use POST /webhooks"
    return f"unknown key {quoted(name)}: {alike(name, TABLES)}"


def _listed(names: Collection[str]) -> str:
    return some_of(list(map(quoted, names))) or "none"


def spelt(value: object) -> str:
    """A value as the file has it; what is not there is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return toml_text(value) if isinstance(value, str) else repr(value)

"""API keys and roles: who may score, give feedback, and operate.

A key is `nn_` and 256 random bits. Only its SHA-256 is stored: a slow hash protects secrets that people
choose and that can be guessed; nobody guesses 256 bits, and every request has to be checked.
"""

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from models.errors import ConfigError
from service.errors import Forbidden, Unauthorized
from service.ids import new_id, now_ms
from service.ledger import audit, keys
from service.ledger.keys import Key

ROLES = ("score", "feedback", "operate")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,79}")
_HEADERS = (b"authorization", b"x-api-key")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="nearnorm"'}


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a key's name and its roles."""

    name: str
    roles: frozenset[str]


ANONYMOUS = Caller("anonymous", frozenset(ROLES))


class Keyring:
    """The keys in memory. `refresh` runs every second or two, `caller` in every request."""

    def __init__(self, host: str, allow_anonymous: bool) -> None:
        self._open_without_keys = is_loopback(host)
        self._allow_anonymous = allow_anonymous
        self._callers: dict[str, Caller] = {}
        self._any_key = False

    def refresh(self, connection: sa.Connection) -> None:
        every = keys.every(connection)
        self._callers = {k.digest: Caller(k.name, k.roles) for k in every if k.revoked_at is None}
        self._any_key = bool(every)  # revoked ones too: revoking the last key must not open the door

    def is_open(self) -> bool:
        return self._allow_anonymous or (self._open_without_keys and not self._any_key)

    def admit(self, headers: Iterable[tuple[bytes, bytes]], role: str | None) -> Caller:
        """`caller` by raw headers, as the hot path has them."""
        sent = {name: value.decode("latin-1") for name, value in headers if name in _HEADERS}
        return self.caller(sent.get(b"authorization"), sent.get(b"x-api-key"), role)

    def caller(self, authorization: str | None, x_api_key: str | None, role: str | None) -> Caller:
        """Who may do this; a role of None is any.

        Raises Unauthorized for no, an unknown or a revoked key, Forbidden for one without the role. A key
        that was sent is checked even where none is needed: a mistake in it should not go unnoticed.
        """
        secret = _secret(authorization, x_api_key)
        if secret is None:
            if self.is_open():
                return ANONYMOUS
            raise Unauthorized(
                "no API key was sent: add `Authorization: Bearer nn_...`", headers=dict(_CHALLENGE)
            )
        caller = self._callers.get(_digest(secret))
        if caller is None:
            raise Unauthorized("the API key is unknown or was revoked", headers=dict(_CHALLENGE))
        if role is not None and role not in caller.roles:
            raise Forbidden(f"this needs the role {role!r}, and the key {caller.name!r} lacks it")
        return caller


def create(connection: sa.Connection, name: str, roles: Iterable[str], actor: str) -> tuple[str, Key]:
    """A new key: its secret, which is shown once and stored nowhere, and its row. Raises ConfigError."""
    wanted = frozenset(roles)
    if unknown := sorted(wanted - set(ROLES)):
        raise ConfigError(f"unknown role {unknown[0]!r}: roles are {', '.join(ROLES)}")
    if not wanted:
        raise ConfigError(f"a key needs a role: give at least one of {', '.join(ROLES)}")
    if not _NAME.fullmatch(name):
        raise ConfigError("a key's name has 1 to 80 letters, digits, spaces and . _ @ -")
    taken = [key for key in keys.every(connection) if key.name == name]
    if taken or name == ANONYMOUS.name:
        raise ConfigError(f"the name {name!r} was taken before: the audit trail tells keys apart by name")
    secret = f"nn_{secrets.token_urlsafe(32)}"
    key = Key(f"key_{new_id().lower()}", name, _digest(secret), wanted, now_ms(), None)
    keys.add(connection, key)
    audit.note(connection, actor, "key.create", key.key_id, name=name, roles=sorted(wanted))
    return secret, key


def revoke(connection: sa.Connection, name_or_id: str, actor: str) -> Key:
    """Raises ConfigError where no active key has this name or id."""
    active = [key for key in keys.every(connection) if key.revoked_at is None]
    found = next((key for key in active if name_or_id in (key.name, key.key_id)), None)
    if found is None:
        raise ConfigError(f"no active key {name_or_id!r}: see `nearnorm keys list`")
    keys.revoke(connection, found.key_id, now_ms())
    audit.note(connection, actor, "key.revoke", found.key_id, name=found.name)
    return found


def check_door(connection: sa.Connection, host: str, allow_anonymous: bool) -> None:
    """Raises ConfigError where a service would listen to others and let everybody in, or nobody."""
    if is_loopback(host) or allow_anonymous or any(k.revoked_at is None for k in keys.every(connection)):
        return
    raise ConfigError(
        f"listening on {host} without API keys would let everybody in: make one with "
        "`nearnorm keys create NAME --role score`, or set NEARNORM_ALLOW_ANONYMOUS=true"
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _secret(authorization: str | None, x_api_key: str | None) -> str | None:
    if authorization is None:
        return x_api_key
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized(
            "the Authorization header is malformed: send `Bearer nn_...`", headers=dict(_CHALLENGE)
        )
    return secret.strip()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

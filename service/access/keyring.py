"""API keys and roles: who may score, give feedback, and operate.

A key is `nn_` and 256 random bits. Only its SHA-256 is stored: a slow hash protects secrets that people
choose and that can be guessed; nobody guesses 256 bits, and every request has to be checked.
"""

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Iterable

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.models.errors import ConfigError
from nearnorm.service.access.quota import Meter
from nearnorm.service.errors import MOST_REPEATED, Forbidden, Unauthorized
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.seen_lines import EVERY_LINE, NO_LINE, SeenLines
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import keys, sessions
from nearnorm.service.ledger.tables.keys import Key

ROLES = ("score", "feedback", "operate")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,79}")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="nearnorm"'}


class SignedIn(Struct, frozen=True):
    """A browser's session: whose it is, by the digest of its secret, and until when (ms since 1970).

    `csrf_token` is what only our own pages can tell beside the cookie, which goes with every request.
    """

    analyst: str
    digest: str
    until: int
    csrf_token: str


class Caller(Struct, frozen=True):
    """Who sent a request: a key's name and its roles. `meter` holds it to a quota, where there is one.

    `key_id` is that of the key, None for who came without; `session` what stood for it, if it was not sent.
    `lines` are the models that the key is bound to: of others he is told what he would be if there were none.
    """

    name: str
    roles: frozenset[str]
    meter: Meter | None = None
    key_id: str | None = None
    session: SignedIn | None = None
    lines: SeenLines = EVERY_LINE

    @property
    def analyst(self) -> str | None:
        """Who is signed in: a key may stand for many, a session for one."""
        return self.session.analyst if self.session else None


ANONYMOUS = Caller("anonymous", frozenset(ROLES))


class Keyring:
    """The keys in memory. `refresh` runs every second or two, `caller` in every request.

    `quota` is that of callers without a key, and of keys as far as they have none of their own.
    """

    def __init__(self, host: str, allow_anonymous: bool, quota: Quota = Quota()) -> None:  # noqa: B008
        self._open_without_keys = is_loopback(host)
        self._allow_anonymous = allow_anonymous
        self._quota = quota
        self._anonymous = replace(ANONYMOUS, meter=_meter(quota, "callers without an API key may send"))
        self._callers: dict[str, Caller] = {}
        self._by_id: dict[str | None, Caller] = {}
        self._any_key = False
        self._any_bound = False

    def refresh(self, connection: sa.Connection) -> None:
        every = keys.every(connection)
        self._callers = {k.digest: self._caller(k) for k in every if k.revoked_at is None}
        self._by_id = {caller.key_id: caller for caller in self._callers.values()}
        self._any_bound = any(not caller.lines.is_every for caller in self._callers.values())
        self._any_key = bool(every)  # revoked ones too: revoking the last key must not open the door

    def is_open(self) -> bool:
        return self._allow_anonymous or (self._open_without_keys and not self._any_key)

    def admit(self, headers: Iterable[tuple[bytes, bytes]], role: str | None) -> Caller:
        """`caller` by raw headers."""
        return self.caller(*_sent(headers), role)

    def known(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The name of whoever sends these headers, None for one who is not let in. It is no request."""
        try:
            secret = _secret(*_sent(headers))
            return (self._without_key() if secret is None else self._by(secret, None)).name
        except Unauthorized:
            return None

    def lines_told(self, headers: Iterable[tuple[bytes, bytes]]) -> SeenLines:
        """Of which lines whoever asks what everybody may ask is told: those of his key.

        Without a key, or by one that lets nobody in, of all, until a key is bound to some: then of none.
        """
        try:
            secret = _secret(*_sent(headers))
            if secret is not None:
                return self._by(secret, None).lines
        except Unauthorized:
            pass
        return EVERY_LINE if self.is_open() or not self._any_bound else NO_LINE

    def caller(self, authorization: str | None, x_api_key: str | None, role: str | None) -> Caller:
        """Who may do this; a role of None is any. It counts as one request of theirs.

        Raises Unauthorized for no, an unknown or a revoked key, Forbidden for one without the role,
        RateLimited for one that has asked too much. A key that was sent is checked even where none is
        needed: a mistake in it should not go unnoticed.
        """
        secret = _secret(authorization, x_api_key)
        caller = self._without_key() if secret is None else self._by(secret, role)
        if caller.meter is not None:
            caller.meter.request()
        return caller

    def holder(self, key_id: str | None) -> Caller | None:
        """Who has this key, while it is valid; of None, whoever comes without one, while none is needed."""
        if key_id is not None:
            return self._by_id.get(key_id)
        return self._anonymous if self.is_open() else None

    def meters(self) -> dict[str, Meter]:
        """Of every caller who is held to a quota: by his key's id, or `anonymous`."""
        callers = [self._anonymous, *self._by_id.values()]
        return {one.key_id or ANONYMOUS.name: one.meter for one in callers if one.meter is not None}

    def named(self, name: str) -> Caller | None:
        """Who has the valid key of this name."""
        return next((caller for caller in self._by_id.values() if caller.name == name), None)

    def _without_key(self) -> Caller:
        if not self.is_open():
            raise Unauthorized(
                "no API key was sent: add `Authorization: Bearer nn_...`", headers=dict(_CHALLENGE)
            )
        return self._anonymous

    def _by(self, secret: str, role: str | None) -> Caller:
        caller = self._callers.get(_digest(secret))
        if caller is None:
            raise Unauthorized("the API key is unknown or was revoked", headers=dict(_CHALLENGE))
        check_role(caller, role)
        return caller

    def _caller(self, key: Key) -> Caller:
        """As it was before, where nothing changed: what it has used of its quota is not forgotten."""
        quota = key.quota.over(self._quota)
        old = self._callers.get(key.digest)
        if old is not None and (old.meter.quota if old.meter else Quota()) == quota:
            return old
        meter = _meter(quota, f"the key {key.name!r} may send")
        return Caller(key.name, key.roles, meter, key.key_id, lines=key.lines)


def check_role(caller: Caller, role: str | None) -> None:
    """Raises Forbidden; a role of None is any."""
    if role is not None and role not in caller.roles:
        raise Forbidden(f"this needs the role {role!r}, and the key {caller.name!r} lacks it")


def check_sees(caller: Caller, model: str) -> None:
    """Raises Forbidden by the name alone, whether or not there is a model of it."""
    if not caller.lines.sees(model):
        named = repr(model[:MOST_REPEATED])
        raise Forbidden(f"the key {caller.name!r} is bound to {caller.lines}: {named} is none of them")


def check_sees_every(caller: Caller, what: str) -> None:
    """Raises Forbidden for what concerns all models, of a key that is bound to some."""
    if not caller.lines.is_every:
        raise Forbidden(
            f"{what} concerns every model, and the key {caller.name!r} is bound to {caller.lines}"
        )


def _meter(quota: Quota, whose: str) -> Meter | None:
    return Meter(quota, whose) if quota.limits() else None


def create(
    connection: sa.Connection,
    name: str,
    roles: Iterable[str],
    actor: str,
    quota: Quota = Quota(),  # noqa: B008
    lines: SeenLines = EVERY_LINE,
) -> tuple[str, Key]:
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
    key = Key(f"key_{new_id().lower()}", name, _digest(secret), wanted, now_ms(), None, quota, lines)
    keys.add(connection, key)
    bound = {} if lines.patterns is None else {"models": lines.patterns}
    roles_and_limits = {"roles": sorted(wanted), **bound, **quota.limits()}
    audit.note(connection, actor, "key.create", key.key_id, name=name, **roles_and_limits)
    return secret, key


def revoke(connection: sa.Connection, name_or_id: str, actor: str) -> Key:
    """Raises ConfigError where no active key has this name or id."""
    found = _active(connection, name_or_id)
    keys.revoke(connection, found.key_id, now_ms())
    sessions.end_of_key(connection, found.key_id)
    audit.note(connection, actor, "key.revoke", found.key_id, name=found.name)
    return found


def limit(connection: sa.Connection, name_or_id: str, quota: Quota, actor: str) -> Key:
    """Give a key another quota. Raises ConfigError where no active key has this name or id."""
    found = replace(_active(connection, name_or_id), quota=quota)
    keys.limit(connection, found.key_id, quota)
    audit.note(connection, actor, "key.limit", found.key_id, name=found.name, **quota.limits())
    return found


def _active(connection: sa.Connection, name_or_id: str) -> Key:
    active = [key for key in keys.every(connection) if key.revoked_at is None]
    found = next((key for key in active if name_or_id in (key.name, key.key_id)), None)
    if found is None:
        raise ConfigError(f"no active key {name_or_id!r}: see `nearnorm keys list`")
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


def sends_key(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a key is sent, valid or not."""
    return any(name in (b"authorization", b"x-api-key") for name, _ in headers)


def _sent(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, str | None]:
    """Authorization and X-API-Key. One of a kind: of two, each reader would take another."""
    authorization = x_api_key = None
    for name, value in headers:
        if name == b"authorization":
            if authorization is not None:
                raise _sent_twice("Authorization")
            authorization = value.decode("latin-1")
        elif name == b"x-api-key":
            if x_api_key is not None:
                raise _sent_twice("X-API-Key")
            x_api_key = value.decode("latin-1")
    return authorization, x_api_key


def _sent_twice(header: str) -> Unauthorized:
    return Unauthorized(f"the header {header} was sent twice: send one key", headers=dict(_CHALLENGE))


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

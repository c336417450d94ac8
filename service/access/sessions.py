"""Sessions: an API key is exchanged for a cookie once, so that no browser keeps the key.

A session is 256 random bits, of which the ledger has the SHA-256. It opens what its key opens, for one
analyst, until he logs out, its time is over, or the key is revoked. /score is not asked by cookies.
"""

import hashlib
import hmac
import math
import secrets
from collections.abc import Sequence
from time import monotonic

import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.service.access.analyst_name import normalised
from nearnorm.service.access.identity_provider import Person
from nearnorm.service.access.keyring import ANONYMOUS, Caller, Keyring, SignedIn, check_role, sends_key
from nearnorm.service.access.session_cookie import sent_secret
from nearnorm.service.errors import Forbidden, InvalidRequest, Unauthorized, WrongCsrfToken
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import sessions
from nearnorm.service.ledger.tables.feedback import claims
from nearnorm.service.ledger.tables.feedback.claims import Holder
from nearnorm.service.ledger.tables.sessions import Session
from nearnorm.service.token_bucket import TokenBucket

MOST_OF_KEY = 1_000
LOOKS_A_SECOND = 20.0
SKEW_MS = 60_000
"""By which the clocks of replicas may differ."""

Headers = Sequence[tuple[bytes, bytes]]


class Sessions:
    """Those that are alive, in memory. `refresh` runs every second or two, `admit` in every request."""

    def __init__(self, ledger: Ledger, keyring: Keyring, hours: float) -> None:
        self._ledger = ledger
        self._keyring = keyring
        self._lasts = math.ceil(hours * 3_600_000)
        self._known: tuple[int, dict[str, Session]] = (-1, {})  # as of one revision: threads refresh it
        self._looks = TokenBucket(LOOKS_A_SECOND, monotonic())

    def refresh(self, connection: sa.Connection) -> None:
        """Read them where any began or ended since."""
        revision = sessions.revision(connection)
        if revision != self._known[0]:
            self._known = revision, {one.digest: one for one in sessions.alive(connection, now_ms())}

    async def admit(self, headers: Headers, role: str | None) -> Caller:
        """As `Keyring.admit`; who sends no key is let in by the session's cookie.

        Raises Unauthorized, Forbidden, RateLimited; LedgerUnavailable where a session that is not known here
        cannot be looked up. A session that has ended is as none where nobody needs one.
        """
        if not sends_key(headers) and (secret := sent_secret(headers)):
            caller = await self._caller(secret)
            if caller is not None:
                check_role(caller, role)
                if caller.meter is not None:
                    caller.meter.request()
                return caller
            if not self._keyring.is_open():
                raise Unauthorized("the session has ended: sign in again")
        return self._keyring.admit(headers, role)

    async def sign_in(self, key: str | None, analyst: str | None, headers: Headers) -> tuple[str, Caller]:
        """A new session's secret, and who has it. The session that came with the request ends.

        `analyst` is who sits there, by default the key. Raises Unauthorized, RateLimited, InvalidRequest,
        LedgerUnavailable.
        """
        if key is None and not self._keyring.is_open():
            raise Unauthorized("this service needs an API key: give it as `key`")
        caller = self._keyring.caller(None, None if key is None else key.strip(), None)
        return await self._begin(caller, _analyst(caller.name if analyst is None else analyst), headers)

    async def sign_in_as(self, person: Person, headers: Headers) -> tuple[str, Caller]:
        """Likewise for somebody whom the identity provider names, by the key that this opens.

        Raises Forbidden where the key is not valid, RateLimited, LedgerUnavailable.
        """
        caller = self._keyring.named(person.key)
        if caller is None:
            raise Forbidden(
                f"no API key {person.key!r} is active: an operator makes it, or mends NEARNORM_OIDC_KEYS"
            )
        if caller.meter is not None:
            caller.meter.request()
        return await self._begin(caller, person.analyst, headers, by="identity provider")

    async def _begin(
        self, caller: Caller, analyst: str, headers: Headers, **detail: str
    ) -> tuple[str, Caller]:
        secret = secrets.token_urlsafe(32)
        now = now_ms()
        session = Session(_digest(secret), caller.key_id, analyst, now, now + self._lasts)
        before = sent_secret(headers)

        def begin(connection: sa.Connection) -> None:
            if before is not None:
                sessions.end(connection, _digest(before))
            sessions.add(connection, session, MOST_OF_KEY)
            audit.note(connection, caller.name, audit.SESSION[0], f"analyst {analyst}", **detail)

        await self._ledger.written(begin)
        await self._ledger.seen(self.refresh)
        return secret, _signed_in(caller, session, secret)

    async def sign_out(self, caller: Caller) -> None:
        """End the session that the caller was let in by, if it was one. Raises LedgerUnavailable.

        What he holds to review is free for others, unless he is signed in elsewhere too.
        """
        session = caller.session
        if session is None:
            return

        def end(connection: sa.Connection) -> None:
            if not sessions.end(connection, session.digest):
                return
            audit.note(connection, caller.name, audit.SESSION[1], f"analyst {session.analyst}")
            if not sessions.is_signed_in(connection, caller.key_id, session.analyst, now_ms()):
                claims.end_of(connection, Holder(caller.name, session.analyst))

        await self._ledger.written(end)
        await self._ledger.seen(self.refresh)

    async def _caller(self, secret: str) -> Caller | None:
        """Whose session it is; None where it is none, or has ended."""
        digest = _digest(secret)
        session = self._known[1].get(digest)
        if session is None and self._looks.take(1, monotonic()):
            await self._ledger.seen(self._look)  # it may have begun at another replica, a moment ago
            session = self._known[1].get(digest)
        if session is None or not 0 < session.until - now_ms() <= self._lasts + SKEW_MS:
            return None  # one that would last longer is from before a clock was put back
        holder = self._keyring.holder(session.key_id)
        return None if holder is None else _signed_in(holder, session, secret)

    def _look(self, connection: sa.Connection) -> None:
        self._keyring.refresh(connection)
        self.refresh(connection)


def check_csrf(caller: Caller, token: str | None) -> None:
    """Whether a write comes from one of our pages, by what only these can tell. A key needs no such word.

    Raises WrongCsrfToken. Raises Unauthorized where a token was sent and its session has ended, though nobody
    needs one: what is written would be in nobody's name.
    """
    if caller.session is None:
        if token and caller.name == ANONYMOUS.name:
            raise Unauthorized("the session has ended: sign in again")
    elif not hmac.compare_digest((token or "").encode(), caller.session.csrf_token.encode()):
        raise WrongCsrfToken(
            "a write by a session needs its token, which `GET /session` tells, as the header X-CSRF-Token or "
            "the form's field csrf: load the page again"
        )


def _signed_in(holder: Caller, session: Session, secret: str) -> Caller:
    token = hmac.digest(secret.encode(), b"csrf", "sha256").hex()
    return replace(holder, session=SignedIn(session.analyst, session.digest, session.until, token))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _analyst(name: str) -> str:
    try:
        return normalised(name)
    except ValueError as error:
        raise InvalidRequest(f"analyst: {error}", field="analyst") from None

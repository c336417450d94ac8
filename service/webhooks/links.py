"""Links to one event, on which somebody who is not signed in may judge it: once, for three days, in the name
that they were sent to. A link names webhook, event and end, under an HMAC by the webhook's own secret."""

import base64
import hmac
import re
import secrets

from nearnorm.service.ledger.tables.webhooks.subscriptions import Webhook

LAST_MS = 3 * 24 * 3600 * 1000
PATH = "/verdict"
_TOKEN = re.compile(r"([0-9A-Z]{26})\.([0-9A-Z]{26})\.([0-9]{1,15})\.([A-Za-z0-9_-]{43})")


def new_link_secret() -> str:
    return secrets.token_hex(32)


def link(base_url: str, webhook: Webhook, event_id: str, sent_at: int) -> str:
    """A message's link to an event: the same in every attempt."""
    return f"{base_url.rstrip('/')}{PATH}?token={token(webhook, event_id, sent_at + LAST_MS)}"


def token(webhook: Webhook, event_id: str, until: int) -> str:
    """`until` is in ms since 1970."""
    said = f"{webhook.webhook_id}.{event_id}.{until}"
    return f"{said}.{_mac(webhook, said)}"


def webhook_id_of(token: str) -> str | None:
    """Whose link it says it is; None: it is no link."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def event_of(token: str, webhook: Webhook, now: int) -> str | None:
    """The event that a link of this webhook leads to; None where it does not hold, or no longer."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    said, _, mac = token.rpartition(".")
    if not hmac.compare_digest(mac, _mac(webhook, said)) or int(found[3]) <= now:
        return None
    return found[2]


def _mac(webhook: Webhook, said: str) -> str:
    digest = hmac.digest(bytes.fromhex(webhook.link_secret), said.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

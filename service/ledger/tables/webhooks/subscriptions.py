"""Webhooks as they were asked for: where to, of what, in which shape, and the secrets that sign."""

import json
from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.database import Milliseconds, metadata
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines

Kind = Literal["alert", "job", "drift", "budget", "quarantine", "model"]
Format = Literal["standard", "slack", "pagerduty", "ocsf"]

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("webhook_id", sa.Text, primary_key=True),  # sorts by time
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("kinds", sa.Text, nullable=False),  # JSON
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("records", sa.Boolean, nullable=False),
    sa.Column("analyst", sa.Text),  # in whose name its links store verdicts; null: it has none
    sa.Column("routing_key", sa.Text),  # PagerDuty's
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),  # in clear: an HMAC needs it
    sa.Column("old_secret", sa.Text),
    sa.Column("old_until", Milliseconds),
    sa.Column("link_secret", sa.Text, nullable=False),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),  # what its outbox had no room for
    sa.Column("lines", sa.Text),  # as its key's; null: every line
)


class Webhook(Struct, frozen=True):
    """One row. Signatures are made with `secret`, and until `old_until` (ms) with `old_secret` too."""

    webhook_id: str
    url: str
    kinds: tuple[Kind, ...]
    format: Format
    records: bool
    analyst: str | None
    routing_key: str | None
    description: str
    secret: str
    old_secret: str | None
    old_until: int | None
    link_secret: str
    at: int
    actor: str
    dropped: int = 0
    lines: SeenLines = EVERY_LINE

    def secrets(self, now: int) -> list[str]:
        """What signs now, the newest first."""
        if self.old_secret is None or self.old_until is None or self.old_until <= now:
            return [self.secret]
        return [self.secret, self.old_secret]


def add(connection: sa.Connection, new: Webhook) -> None:
    cells = {"kinds": json.dumps(new.kinds), "lines": new.lines.cell}
    connection.execute(sa.insert(webhooks), [asdict(new) | cells])


def every(connection: sa.Connection) -> list[Webhook]:
    """Oldest first."""
    rows = connection.execute(sa.select(webhooks).order_by(webhooks.c.webhook_id))
    return [_webhook(row) for row in rows]


def _webhook(row: sa.Row[tuple[object, ...]]) -> Webhook:
    read = {"kinds": tuple(json.loads(row.kinds)), "lines": SeenLines.stored(row.lines)}
    return Webhook(**(row._asdict() | read))


def find(connection: sa.Connection, webhook_id: str) -> Webhook | None:
    return next((one for one in every(connection) if one.webhook_id == webhook_id), None)


def wanting(connection: sa.Connection, kind: Kind) -> list[Webhook]:
    """Those that are told of a kind, of the lines that they see."""
    return [one for one in every(connection) if kind in one.kinds]


def remove(connection: sa.Connection, webhook_id: str) -> None:
    connection.execute(sa.delete(webhooks).where(webhooks.c.webhook_id == webhook_id))


def renew_secret(connection: sa.Connection, webhook: Webhook, secret: str, old_until: int) -> None:
    """The secret of until now goes on beside the new one for a while."""
    values = {"secret": secret, "old_secret": webhook.secret, "old_until": old_until}
    connection.execute(sa.update(webhooks).where(webhooks.c.webhook_id == webhook.webhook_id).values(values))


def count_dropped(connection: sa.Connection, webhook_id: str, more: int) -> None:
    """What a webhook will not be told, as its outbox is full."""
    same = webhooks.c.webhook_id == webhook_id
    connection.execute(sa.update(webhooks).where(same).values(dropped=webhooks.c.dropped + more))


def within(connection: sa.Connection, lines: SeenLines) -> list[str]:
    """Ids of those that are told of nothing but these lines."""
    return [one.webhook_id for one in every(connection) if lines.covers(one.lines)]


def erase_analyst(connection: sa.Connection, names: Sequence[str], lines: SeenLines) -> None:
    """No link stores a verdict in their name any more."""
    theirs = sa.and_(webhooks.c.analyst.in_(names), webhooks.c.webhook_id.in_(within(connection, lines)))
    connection.execute(sa.update(webhooks).where(theirs).values(analyst=None))

"""Payments as a bank sends them to be scored: each with what was known of its card at that moment."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from examples.payments.cards import Card, Payment, cards, genuine
from examples.payments.fraud import stolen
from examples.payments.merchants import KINDS, merchants

START = datetime(2026, 8, 3)  # a Monday
WARM_UP = 3  # weeks in which only cards' habits become known


@dataclass(frozen=True)
class Week:
    """A week's records in the order of time, and the truth: how each was stolen, or None."""

    records: list[dict[str, Any]]
    fraud: list[str | None]


@dataclass
class Known:
    """What is known of a card so far."""

    last: datetime | None = None
    day: deque[datetime] = field(default_factory=deque)
    euros: float = 0.0
    payments: int = 0
    merchants: set[str] = field(default_factory=set)


def weeks(count: int, card_count: int, thefts: float, new_way_from: int, seed: int) -> list[Week]:
    """`count` weeks of `card_count` cards with about `thefts` thefts each; wallets are lost (`found`) from
    the week `new_way_from` on."""
    rng = np.random.default_rng(seed)
    places = merchants(25)
    everybody = cards(card_count, START, places, rng)
    known = {card.name: Known() for card in everybody}
    owners = {card.name: card for card in everybody}
    payments: list[Payment] = []
    for number in range(-WARM_UP, count):
        monday = START + timedelta(weeks=number)
        payments += [payment for card in everybody for payment in genuine(card, monday, places, rng)]
        ways = ["tested", "taken over", "skimmed"] + ["found"] * (number >= new_way_from)
        for _ in range(rng.poisson(thefts) if number >= 0 else 0):
            payments += stolen(everybody[int(rng.integers(card_count))], monday, ways, places, rng)
    payments.sort(key=lambda payment: payment.at)
    made = [Week([], []) for _ in range(count)]
    for number, payment in enumerate(payments):
        row = {"payment": f"pay-{number:06}", **record(payment, owners[payment.card], known[payment.card])}
        week = (payment.at - START).days // 7 if payment.at >= START else -1
        if 0 <= week < count:
            made[week].records.append(row)
            made[week].fraud.append(payment.fraud)
    return made


def record(payment: Payment, card: Card, known: Known) -> dict[str, Any]:
    """What the bank sends of a payment; and the payment becomes part of what is known."""
    day_ago = payment.at - timedelta(days=1)
    while known.day and known.day[0] < day_ago:
        known.day.popleft()
    usual = known.euros / known.payments if known.payments else None
    since = (payment.at - known.last).total_seconds() / 60 if known.last else None
    found = {
        "booked_at": payment.at.isoformat(timespec="seconds"),
        "card": payment.card,
        "card_opened": card.opened.date().isoformat(),
        "merchant": payment.merchant.name,
        "mcc": KINDS[payment.merchant.kind].code,
        "country": payment.merchant.country,
        "channel": payment.channel,
        "amount": payment.euros,
        "times_usual": round(payment.euros / usual, 3) if usual else None,
        "minutes_since_last": round(since, 1) if since is not None else None,
        "payments_in_24h": len(known.day),
        "new_merchant": payment.merchant.name not in known.merchants,
    }
    known.last = payment.at
    known.day.append(payment.at)
    known.euros += payment.euros
    known.payments += 1
    known.merchants.add(payment.merchant.name)
    return found

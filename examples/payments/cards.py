"""Cards and what their owners do with them: hours, haunts, journeys, and now and then something odd."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from examples.payments.merchants import ABROAD, AWAY, HOME, KINDS, Merchant, amount, channel

Merchants = dict[tuple[str, str], list[Merchant]]


@dataclass(frozen=True)
class Payment:
    """One payment; `fraud` is its kind, or None: the truth, which no file holds."""

    at: datetime
    card: str
    merchant: Merchant
    euros: float
    channel: str
    fraud: str | None = None


@dataclass
class Card:
    """A card, and the habits of who owns it."""

    name: str
    opened: datetime
    wealth: float  # what a payment is worth beside others'
    weekly: float  # payments a week
    hour: float  # about when
    tastes: np.ndarray  # a share for every kind of merchant
    plays: bool  # makes many small payments online in a row
    haunts: dict[str, list[Merchant]] = field(default_factory=dict)


def cards(count: int, start: datetime, places: Merchants, rng: np.random.Generator) -> list[Card]:
    weights = np.array([kind.weight for kind in KINDS.values()])
    made = []
    for number in range(count):
        works_at_night = rng.random() < 0.05
        card = Card(
            name=f"card-{number:05}",
            opened=start - timedelta(days=float(rng.gamma(2.0, 500.0))),
            wealth=float(np.exp(rng.normal(0, 0.35))),
            weekly=float(rng.gamma(4.0, 1.25)),
            hour=float(rng.normal(2, 2) if works_at_night else rng.normal(15, 2)),
            tastes=rng.dirichlet(weights / 8),
            plays=bool(rng.random() < 0.04),
        )
        for kind in KINDS:
            here = places[kind, HOME]
            card.haunts[kind] = [here[i] for i in rng.choice(len(here), min(3, len(here)), replace=False)]
        made.append(card)
    return made


def genuine(card: Card, monday: datetime, places: Merchants, rng: np.random.Generator) -> list[Payment]:
    """A card's own payments in the week from `monday` on."""
    away = str(rng.choice(ABROAD)) if rng.random() < 0.04 else None
    made = []
    for _ in range(rng.poisson(card.weekly)):
        at = moment(monday, card.hour, rng)
        if away is not None:
            kind = str(rng.choice(list(AWAY), p=np.array(list(AWAY.values())) / sum(AWAY.values())))
            merchant = one(places[kind, away], rng)
        else:
            kind = str(rng.choice(list(KINDS), p=card.tastes))
            known = rng.random() < 0.75
            merchant = one(card.haunts[kind] if known else places[kind, HOME], rng)
        made.append(Payment(at, card.name, merchant, amount(kind, card.wealth, rng), channel(kind, rng)))
    if card.plays and rng.random() < 0.5:
        at = moment(monday, 21, rng)
        for _ in range(rng.integers(3, 8)):
            at += timedelta(minutes=float(rng.exponential(6)))
            merchant = one(card.haunts["digital"], rng)
            made.append(Payment(at, card.name, merchant, round(float(rng.uniform(1, 12)), 2), "online"))
    return made


def moment(monday: datetime, hour: float, rng: np.random.Generator) -> datetime:
    """Some day of the week, around that hour."""
    return monday + timedelta(days=float(rng.integers(0, 7)), hours=float(rng.normal(hour, 3.5)) % 24)


def one(of: list[Merchant], rng: np.random.Generator) -> Merchant:
    return of[int(rng.integers(len(of)))]

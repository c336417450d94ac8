"""What thieves do with a card: four ways, of which each looks like something that owners do too."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np

from examples.payments.cards import Card, Merchants, Payment, moment, one
from examples.payments.merchants import ABROAD, HOME, amount


def tested(card: Card, at: datetime, places: Merchants, rng: np.random.Generator) -> list[Payment]:
    """Small sums online, to see whether the number is good, then a larger one. So do players of games."""
    made = []
    for _ in range(rng.integers(2, 6)):
        merchant = one(places[str(rng.choice(["digital", "charity"])), HOME], rng)
        made.append(
            Payment(at, card.name, merchant, round(float(rng.uniform(0.5, 5)), 2), "online", "tested")
        )
        at += timedelta(minutes=float(rng.exponential(8)))
    merchant = one(places["electronics", HOME], rng)
    made.append(Payment(at, card.name, merchant, amount("electronics", 1.0, rng), "online", "tested"))
    return made


def taken_over(card: Card, at: datetime, places: Merchants, rng: np.random.Generator) -> list[Payment]:
    """What can be sold again, online, from shops that the owner never was at. Owners buy such things too."""
    made = []
    for _ in range(rng.integers(1, 4)):
        kind = str(rng.choice(["electronics", "gift cards", "travel"]))
        merchant = one(places[kind, HOME], rng)
        made.append(Payment(at, card.name, merchant, amount(kind, 1.6, rng), "online", "taken over"))
        at += timedelta(minutes=float(rng.exponential(45)))
    return made


def skimmed(card: Card, at: datetime, places: Merchants, rng: np.random.Generator) -> list[Payment]:
    """A copy of the card draws cash abroad. Travellers do that too."""
    country = str(rng.choice(ABROAD))
    made = []
    for _ in range(rng.integers(1, 4)):
        merchant = one(places["cash", country], rng)
        made.append(Payment(at, card.name, merchant, amount("cash", 2.0, rng), "atm", "skimmed"))
        at += timedelta(minutes=float(rng.exponential(90)))
    return made


def found(card: Card, at: datetime, places: Merchants, rng: np.random.Generator) -> list[Payment]:
    """A lost wallet: shop after shop, each time below the sum that asks for a PIN. So are some Saturdays."""
    made = []
    for _ in range(rng.integers(3, 8)):
        merchant = one(places[str(rng.choice(["groceries", "kiosk", "clothes"])), HOME], rng)
        euros = round(float(rng.uniform(30, 50)), 2)
        made.append(Payment(at, card.name, merchant, euros, "contactless", "found"))
        at += timedelta(minutes=float(rng.exponential(15)))
    return made


Way = Callable[[Card, datetime, Merchants, np.random.Generator], list[Payment]]
WAYS: dict[str, tuple[Way, float]] = {
    "tested": (tested, 2),
    "taken over": (taken_over, 17),
    "skimmed": (skimmed, 19),
    "found": (found, 13),
}
"""Each with about when it begins, an hour of the day."""


def stolen(
    card: Card, monday: datetime, ways: list[str], places: Merchants, rng: np.random.Generator
) -> list[Payment]:
    """One theft in the week from `monday` on."""
    way, hour = WAYS[str(rng.choice(ways))]
    return way(card, moment(monday, hour, rng), places, rng)

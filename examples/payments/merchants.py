"""Where cards pay: kinds of merchants, and merchants of each kind in each country."""

from dataclasses import dataclass

import numpy as np

HOME = "DE"
ABROAD = ("AT", "FR", "IT", "ES", "NL", "PL", "GB", "US")


@dataclass(frozen=True)
class Kind:
    """A kind of merchant: how often cards pay there, what a payment is like, and how it is made."""

    code: str  # the merchant category code
    names: tuple[str, ...]
    weight: float
    amount: float  # the median, in euros
    spread: float  # of the amount's logarithm
    channels: dict[str, float]


KINDS = {
    "groceries": Kind(
        "5411", ("Grünkauf", "Marktplatz", "Feinkost"), 30, 24, 0.7, {"chip": 0.4, "contactless": 0.6}
    ),
    "restaurant": Kind(
        "5812", ("Gasthaus", "Trattoria", "Imbiss"), 14, 19, 0.7, {"chip": 0.4, "contactless": 0.6}
    ),
    "fuel": Kind("5541", ("Tankhof", "Autohof"), 6, 55, 0.35, {"chip": 0.8, "contactless": 0.2}),
    "kiosk": Kind("5994", ("Kiosk", "Tabakeck"), 8, 8, 0.6, {"contactless": 0.9, "chip": 0.1}),
    "clothes": Kind(
        "5651", ("Modehaus", "Schuhwerk"), 6, 55, 0.6, {"online": 0.5, "chip": 0.3, "contactless": 0.2}
    ),
    "electronics": Kind("5732", ("Technikwelt", "Funkhaus"), 3, 120, 0.9, {"online": 0.7, "chip": 0.3}),
    "digital": Kind("5815", ("Spielwerk", "Tonkiste", "Lesestoff"), 10, 6, 0.8, {"online": 1.0}),
    "travel": Kind("4722", ("Fernweh", "Bahnreise"), 3, 160, 0.8, {"online": 0.9, "chip": 0.1}),
    "hotel": Kind("7011", ("Hotel Post", "Pension"), 2, 140, 0.5, {"chip": 0.7, "online": 0.3}),
    "cash": Kind("6011", ("Geldautomat",), 5, 100, 0.6, {"atm": 1.0}),
    "gift cards": Kind("5947", ("Geschenkkarte", "Gutschein24"), 1.5, 45, 0.6, {"online": 0.8, "chip": 0.2}),
    "charity": Kind("8398", ("Nothilfe", "Tierheim"), 1.5, 15, 0.8, {"online": 1.0}),
}
AWAY = {"hotel": 20.0, "restaurant": 35.0, "cash": 15.0, "fuel": 10.0, "groceries": 15.0, "kiosk": 5.0}
"""How often cards pay where while their owners travel."""


@dataclass(frozen=True)
class Merchant:
    name: str
    kind: str
    country: str


def merchants(each: int) -> dict[tuple[str, str], list[Merchant]]:
    """`each` merchants for every kind in every country."""
    return {
        (kind, country): [
            Merchant(f"{about.names[n % len(about.names)]} {country} {n + 1}", kind, country)
            for n in range(each)
        ]
        for kind, about in KINDS.items()
        for country in (HOME, *ABROAD)
    }


def channel(kind: str, rng: np.random.Generator) -> str:
    ways = KINDS[kind].channels
    return str(rng.choice(list(ways), p=list(ways.values())))


def amount(kind: str, wealth: float, rng: np.random.Generator) -> float:
    """Euros of a payment by somebody who spends `wealth` times what others do."""
    about = KINDS[kind]
    euros = float(np.exp(rng.normal(np.log(about.amount * wealth), about.spread)))
    return round(euros / 10) * 10.0 + 10 if kind == "cash" else round(euros, 2)

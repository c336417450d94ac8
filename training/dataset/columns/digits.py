"""Digits that are names: by which signs a column of whole numbers is one of codes or card numbers.

A measured amount leaves few gaps once its values repeat: where most of the range is empty and yet every value
comes again and again, somebody gave the numbers out.
"""

import re
from dataclasses import dataclass

import numpy as np

from nearnorm.training.dataset.masks import card_share

LAST_WORDS = frozenset(
    [
        *("mcc", "zip", "zipcode", "postcode", "postal", "postalcode", "plz", "code", "sic", "naics", "isic"),
        *("npi", "imsi", "imei", "msisdn", "phone", "iin", "icd", "icd9", "icd10", "hsn", "ean", "gtin"),
        "sku",
    ]
)
"""What the names of codes end with."""
IDENTIFIERS = frozenset(["id", "uid", "uuid", "guid", "oid", "pk", "key", "nr"])
"""What the names of identifiers end with."""
FEWEST_ROWS = 50
FEWEST_VALUES = 3
FEWEST_CARDS = 20
MOST_LOOKED_AT = 10_000
CARD_SHARE = 0.95
EXACT = 2**63
MOST_DIGITS = 19
WIDTH = 3
"""Fewest digits of codes that nothing but their values shows to be some."""
FILLED = 0.1
"""Share of the range that is taken, at most."""
REPEATED = 20
"""Rows for each value, at least."""
_YEARS, _MONTHS = (1900, 2099), 12
_POINT_ZERO = re.compile(r"\.0+$")


@dataclass(frozen=True)
class Digits:
    """A column's distinct whole numbers [N], none negative, as text and as int64; `rows` have one."""

    texts: np.ndarray
    numbers: np.ndarray
    rows: int

    @property
    def widths(self) -> np.ndarray:
        return np.char.str_len(self.texts)

    @property
    def leading_zeros(self) -> bool:
        return bool((np.char.startswith(self.texts, "0") & (self.widths > 1)).any())


def digits_of_numbers(distinct: np.ndarray, rows: int) -> Digits | None:
    """None where a number is negative, no whole one, or beyond what float64 counts one by one."""
    if not len(distinct) or not ((distinct >= 0) & (distinct < EXACT)).all() or (distinct % 1 != 0).any():
        return None
    numbers = distinct.astype(np.int64)
    return Digits(numbers.astype(str), numbers, rows)


def digits_of_texts(distinct: list[str], rows: int) -> Digits | None:
    """The same of texts, which keep their leading zeros; ".0" at the end is left out."""
    texts = [_POINT_ZERO.sub("", text.strip()) for text in distinct]
    if not texts or not all(text.isascii() and text.isdigit() and len(text) < MOST_DIGITS for text in texts):
        return None
    return Digits(np.array(texts), np.array(texts).astype(np.int64), rows)


def are_cards(digits: Digits) -> bool:
    looked_at = digits.texts[:MOST_LOOKED_AT]
    return len(looked_at) >= FEWEST_CARDS and card_share(looked_at) >= CARD_SHARE


def are_months(digits: Digits) -> bool:
    """Whether they are 202601, 202602 ..."""
    years, months = np.divmod(digits.numbers, 100)
    within = (years >= _YEARS[0]) & (years <= _YEARS[1]) & (months >= 1) & (months <= _MONTHS)
    return len(digits.numbers) >= FEWEST_VALUES and bool(within.all())


def why_code(name: str, digits: Digits) -> str:
    """Why they are codes; "" where nothing says so."""
    if digits.leading_zeros:
        return "digits with leading zeros"
    low, high, distinct = digits.widths.min(), digits.widths.max(), len(digits.numbers)
    if distinct < FEWEST_VALUES:
        return ""
    if _last_word(name) in LAST_WORDS and high > 1:
        return "whole numbers, and the name says that they are codes"
    if low < high or low < WIDTH or digits.rows < max(FEWEST_ROWS, REPEATED * distinct):
        return ""
    ordered = np.sort(digits.numbers)
    if distinct > FILLED * (ordered[-1] - ordered[0] + 1) or np.gcd.reduce(np.diff(ordered)) > 1:
        return ""
    return f"{distinct} values of {low} digits, far apart, which come again and again"


def named_identifier(name: str) -> bool:
    return _last_word(name) in IDENTIFIERS


def _last_word(name: str) -> str:
    """Of `merchantCode` and `merchant_code`: code."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()
    return re.split(r"[^a-z0-9]+", parted.rstrip(" _.-"))[-1]

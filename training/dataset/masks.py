"""What is never printed as it stands: card numbers and e-mail addresses."""

import re

import numpy as np

CARD_DIGITS = (12, 19)
LONGEST = 40
_CARD = re.compile(r"(?<![\d.])(?:\d[ -]?){11,18}\d(?![\d.])")
_GROUPED_CARD = re.compile(r"\d{4}([ -])(\d{4}\1\d{4}\1\d{1,7}|\d{6}\1\d{5})")
_EMAIL = re.compile(r"(?<![^@\s])[^@\s]+@[^@\s]+\.[^@\s]+")  # looked for once a word, however long it is


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of a card number (ISO/IEC 7812)."""
    doubled = [2 * int(d) for d in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def card_share(digits: np.ndarray) -> float:
    """The share of texts [N] that are card numbers by length and check digit: a tenth of others would be."""
    low, high = CARD_DIGITS
    found = [low <= len(text) <= high and text.isdigit() and passes_luhn(text) for text in digits.tolist()]
    return float(np.mean(found))


def is_written_card(text: str) -> bool:
    """Whether it is a card number in groups, as people write them."""
    return _GROUPED_CARD.fullmatch(text.strip()) is not None and passes_luhn(re.sub(r"\D", "", text))


def is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text.strip()) is not None


def masked(value: object) -> str:
    """A value as a report shows it: one line, not too long, card numbers and addresses crossed out."""
    text = value if isinstance(value, str) else f"{value}"
    text = _EMAIL.sub("***@***", _CARD.sub(_crossed_out, text))
    text = repr(text)[1:-1]
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _crossed_out(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[0])
    return f"{digits[:4]}…{digits[-2:]}" if passes_luhn(digits) else found[0]

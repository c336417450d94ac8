"""The digest of a record: what equal records share, whichever model reads them.

Equal means: the same values of every feature the model sees, after coercion; 0.0 and -0.0 are the same
number, every missing value is the same, and categories that training never saw are told apart by their text.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

sorted_json = msgspec.json.Encoder(order="sorted").encode

Values = Mapping[str, Any]  # a record as the model read it: float, bool, str; None is missing


def record_digest(record: Values) -> str:
    """32 hex digits that equal records of the same features share."""
    text = sorted_json(record)
    if b"-0.0" in text:
        text = sorted_json(
            {name: value + 0.0 if type(value) is float else value for name, value in record.items()}
        )
    return text_digest(text)


def text_digest(text: bytes) -> str:
    """The digest of a record by its JSON: names in order, no -0."""
    return hashlib.sha256(text).hexdigest()[:32]

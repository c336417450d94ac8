"""A body of JSON from Python's values: a missing value is null, whichever of Python's ways says so."""

import json
import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

_dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=lambda value: _plain(value)).encode


def encoded(document: Mapping[str, Any]) -> bytes:
    """Raises ValueError and TypeError for what JSON cannot say."""
    try:
        return _dumps(document).encode()
    except ValueError:  # NaN or an infinity is in it, which is looked for only then
        return _dumps(_spelled_out(document)).encode()


def _plain(value: Any) -> Any:  # noqa: ANN401 - what json does not know
    if isinstance(value, date | time):
        return None if value != value else value.isoformat()  # pandas' NaT is a date, unequal to itself
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else float(value)
    if isinstance(value, UUID):
        return str(value)
    if type(value).__name__ == "NAType":  # of pandas, which need not be here
        return None
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", 0) == 0:  # a number of numpy
        return item()
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent: send numbers, texts or booleans")


def _spelled_out(value: Any) -> Any:  # noqa: ANN401 - JSON
    """NaN as null: a missing value. An infinity as text, which is that row's error."""
    if isinstance(value, dict):
        return {name: _spelled_out(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled_out(inner) for inner in value]
    if not isinstance(value, str | int | float | bool | None):
        value = _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value

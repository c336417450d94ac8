"""What a test's bundle counts over windows: two features of payments, as its recipe says."""

from typing import Any

COUNTED: dict[str, Any] = {
    "aggregates": {
        "time": "at",
        "id": "payment",
        "features": {
            "epoch": {"key": "card", "window": "1h", "function": "count"},
            "amount": {"key": "card", "window": "1h", "function": "sum", "of": "paid"},
        },
    }
}

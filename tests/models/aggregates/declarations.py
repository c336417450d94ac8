"""Declarations that tests count by."""

from nearnorm.models.aggregates.declaration import Aggregates


def payments(late: str = "0s") -> Aggregates:
    """Counts by card and by merchant."""
    return Aggregates.of_table(
        {
            "time": "at",
            "id": "payment",
            "late": late,
            "features": {
                "card_count_1m": {"key": "card", "window": "1m", "function": "count"},
                "card_amount_1h": {"key": "card", "window": "1h", "function": "sum", "of": "amount"},
                "card_merchants_1h": {
                    "key": "card",
                    "window": "1h",
                    "function": "distinct",
                    "of": "merchant",
                },
                "card_since": {"key": "card", "window": "5m", "function": "since last"},
                "merchant_count_1h": {"key": "merchant", "window": "1h", "function": "count"},
            },
        },
        "schema.toml",
    )

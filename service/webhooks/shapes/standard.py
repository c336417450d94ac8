"""The body after Standard Webhooks: type, timestamp, data."""

from typing import Any

from nearnorm.service.webhooks.told import Told


def shaped(told: Told) -> dict[str, Any]:
    return {"type": told.type, "timestamp": told.timestamp, "data": told.data}

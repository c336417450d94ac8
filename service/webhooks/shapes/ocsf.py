"""The body as findings of the Open Cybersecurity Schema Framework: a list, one for each alert."""

from typing import Any

from nearnorm.service.alerts.ocsf import finding, no_alert
from nearnorm.service.webhooks.told import Told


def shaped(told: Told) -> list[dict[str, Any]]:
    if told.kind == "test":
        return [no_alert(told.message_id, told.at, told.summary)]
    return [finding(alert) for alert in told.alerts]

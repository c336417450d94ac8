"""PagerDuty's Events API v2: what lasts is triggered and resolved by its subject, all else by its message."""

from typing import Any

from nearnorm.service.webhooks.told import Told

MOST_SUMMARY = 1_024  # characters
MOST_LINKS = 20


def shaped(told: Told, routing_key: str) -> dict[str, Any]:
    lasts = told.kind in ("drift", "budget")
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if lasts and told.event == "ended" else "trigger",
        "dedup_key": f"nearnorm:{told.subject if lasts else told.message_id}"[:255],
        "payload": {
            "summary": told.summary[:MOST_SUMMARY],
            "source": f"nearnorm:{told.data.get('model', 'service')}",
            "severity": _severity(told),
            "timestamp": told.timestamp,
            "component": told.kind,
            "class": told.type,
            "custom_details": told.data,
        },
        "client": "Nearnorm",
    }
    links = [
        {"href": alert["link"], "text": f"Judge {alert.get('id', alert['event_id'])}"}
        for alert in told.data.get("alerts", ())
        if "link" in alert
    ]
    if links:
        body["links"] = links[:MOST_LINKS]
    if told.page:
        body["client_url"] = told.page
    return body


def _severity(told: Told) -> str:
    if told.kind == "alert" or told.type == "job.failed":
        return "error"
    return "warning" if told.kind in ("drift", "budget") else "info"

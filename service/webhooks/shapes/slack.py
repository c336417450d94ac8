"""Slack's incoming webhooks: a text, and a line for each of the strangest alerts, with their links.

Mattermost, Rocket.Chat and Discord (`/slack` behind its address) read the same.
"""

from typing import Any

from nearnorm.service.webhooks.told import Told

MOST_LINES = 10
MOST_CHARACTERS = 2_900  # of a section of blocks: 3,000


def shaped(told: Told) -> dict[str, Any]:
    lines = [f"*{_escaped(told.summary)}*"]
    alerts = sorted(told.data.get("alerts", ()), key=lambda alert: -alert["percentile"])
    lines += map(_line, alerts[:MOST_LINES])
    if len(alerts) > MOST_LINES:
        lines.append(f"and {len(alerts) - MOST_LINES} more")
    if told.page:
        lines.append(f"<{told.page}|Open Nearnorm>")
    text = ""
    for line in lines:  # whole lines: half of a link is none
        if len(text) + len(line) > MOST_CHARACTERS:
            break
        text += line + "\n"
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text.rstrip("\n")}}
    return {"text": _escaped(told.summary), "blocks": [section]}


def _line(alert: dict[str, Any]) -> str:
    name = _escaped(str(alert.get("id", alert["event_id"]))[:100])
    named = f"<{alert['link']}|{name}>" if "link" in alert else name
    because = f", for {_escaped(', '.join(alert['reasons'])[:300])}" if alert.get("reasons") else ""
    return f"• {named}: percentile {alert['percentile']:.2f}{because}"


def _escaped(text: str) -> str:
    """Slack's three; and what would make a link's text or a line end early."""
    plain = " ".join(text.split()).replace("|", "\N{BROKEN BAR}")
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

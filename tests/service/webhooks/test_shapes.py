"""Messages in the shapes of Slack and PagerDuty, whatever a caller's ids and names hold."""

from typing import Any

import pytest
from msgspec.structs import replace

from nearnorm.service.webhooks.shapes import pagerduty, slack, standard
from nearnorm.service.webhooks.told import Told

AT = 1_796_032_800_000
ALERTS: dict[str, Any] = {
    "model": "default",
    "alerts": [
        {
            "event_id": f"E{i:02}",
            "id": f"tx<{i}>|&\n*",
            "at": "2026-11-30T10:00:00.000Z",
            "score": 0.9,
            "percentile": 99.0 + i / 100,
            "reasons": ["amount"],
            "link": f"https://desk.example.com/verdict?token=t{i}",
        }
        for i in range(12)
    ],
}
TOLD = Told("msg_1", "alert", "raised", "alert:default", AT, ALERTS, "https://x/review")
KEY = "0123456789abcdef0123456789abcdef"
MESSAGES = [
    ("job", "failed", {"model": "default", "job_id": "J1"}),
    ("job", "succeeded", {"model": "default", "job_id": "J1", "activated": True}),
    ("drift", "began", {"model": "default", "signal": "amount"}),
    ("drift", "ended", {"model": "default", "signal": "amount"}),
    ("budget", "began", {"model": "default", "budget": "40 a day", "problems": ["more are raised"]}),
    ("budget", "ended", {"model": "default", "budget": "40 a day", "problems": ["more are raised"]}),
    ("quarantine", "began", {"labeller": "analyst", "name": "ann", "by": "ops"}),
    ("model", "activated", {"model": "default", "version": "a" * 64, "by": "ops"}),
    ("model", "rolled_back", {"model": "default", "version": "a" * 64, "by": "ops"}),
    ("test", "sent", {"webhook_id": "W1"}),
]


def test_the_standards_body_has_type_time_and_data() -> None:
    assert standard.shaped(TOLD) == {
        "type": "alert.raised",
        "timestamp": "2026-11-30T10:00:00.000Z",
        "data": ALERTS,
    }


def test_slack_is_sent_the_strangest_with_their_links_and_nothing_breaks_out_of_a_line() -> None:
    body = slack.shaped(TOLD)
    assert body["text"] == "12 alerts of model default, at percentile 99.11 at most"
    (block,) = body["blocks"]
    lines = block["text"]["text"].split("\n")
    assert lines[1] == (
        "• <https://desk.example.com/verdict?token=t11|tx&lt;11&gt;\N{BROKEN BAR}&amp; *>: "
        "percentile 99.11, for amount"
    )
    assert lines[-2:] == ["and 2 more", "<https://x/review|Open Nearnorm>"]
    assert len(lines) == 13


def test_a_slack_message_of_long_links_ends_with_a_whole_line() -> None:
    long = [alert | {"link": "https://desk.example.com/" + "x" * 900} for alert in ALERTS["alerts"]]
    text = slack.shaped(replace(TOLD, data=ALERTS | {"alerts": long}))["blocks"][0]["text"]["text"]
    assert len(text) <= 3_000
    assert text.count("<") == text.count(">") > 1


def test_pagerduty_is_triggered_by_each_message_of_alerts_and_shown_their_links() -> None:
    body = pagerduty.shaped(TOLD, KEY)
    assert (body["routing_key"], body["event_action"]) == (KEY, "trigger")
    assert body["dedup_key"] == "nearnorm:msg_1"
    assert body["payload"]["severity"] == "error"
    assert body["payload"]["custom_details"] == ALERTS
    assert body["links"][0]["href"] == "https://desk.example.com/verdict?token=t0"


def test_what_lasts_is_resolved_in_pagerduty_by_the_key_that_triggered_it() -> None:
    data = {"model": "default", "signal": "amount"}
    began = Told("msg_1", "drift", "began", "drift:default:numeric:amount", AT, data)
    ended = replace(began, message_id="msg_2", event="ended")
    first, second = (pagerduty.shaped(told, KEY) for told in (began, ended))
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"] == "nearnorm:drift:default:numeric:amount"


@pytest.mark.parametrize(("kind", "event", "data"), MESSAGES)
def test_every_kind_has_a_sentence_in_every_shape(kind: Any, event: str, data: dict[str, Any]) -> None:
    told = Told("msg_1", kind, event, f"{kind}:x", AT, data)
    assert slack.shaped(told)["text"] == told.summary
    payload = pagerduty.shaped(told, KEY)["payload"]
    assert payload["summary"] == told.summary
    assert payload["severity"] in ("critical", "error", "warning", "info")

"""From an alert to a verdict in a browser: by keys, by forms, and when the service is away."""

import httpx
from playwright.sync_api import Page, expect

from tests.service.pages.conftest import fill


def shown(page: Page) -> str:
    return page.locator(".card:not([hidden]) h2").inner_text()


def labels_of(desk: httpx.Client, event_id: str) -> list[str]:
    """What the queue leaves out was judged; the audit trail says how often."""
    del event_id
    return [entry["action"] for entry in desk.get("/audit?limit=200").json()["entries"]]


def test_the_root_leads_to_the_review(desk: httpx.Client) -> None:
    assert desk.get("/").headers["location"] == "/review"


def test_a_verdict_is_one_key_and_the_next_record_is_there_at_once(page: Page, desk: httpx.Client) -> None:
    fill(desk, 12)
    page.goto(f"{desk.base_url}/review")
    assert shown(page) == "tx-0"
    page.keyboard.press("a")
    assert shown(page) == "tx-1"
    page.keyboard.press("n")
    assert shown(page) == "tx-2"
    expect(page.locator("#unread")).to_have_text("2")
    items = desk.get("/queue?limit=50").json()["queue"]
    assert {item["id"] for item in items} == {f"tx-{place}" for place in range(2, 12)}

"""The team's page: who holds what, who is contradicted, and what an operator does about it."""

import httpx
from playwright.sync_api import Page, expect

from nearnorm.service.api.review.claims import Lease
from nearnorm.service.pages.team import AtWork, at_work
from tests.service.asking import label, stored
from tests.service.pages.conftest import fill


def test_an_operator_takes_back_what_an_analyst_holds(page: Page, desk: httpx.Client) -> None:
    fill(desk, 6)
    desk.post("/claims", json={"analyst": "ann", "limit": 3})
    desk.post("/claims", json={"analyst": "ben", "limit": 2})
    page.goto(f"{desk.base_url}/team")
    rows = page.get_by_role("region", name="Who reviews now").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("ann")
    expect(rows.first.locator("td").nth(1)).to_have_text("3")
    page.get_by_role("button", name="Take back what ann holds").click()
    expect(page.get_by_role("status")).to_contain_text("Taken back")
    expect(rows).to_have_count(1)
    assert [one["analyst"] for one in desk.get("/claims?everybody=true").json()["claims"]] == ["ben"] * 2
    (entry,) = desk.get("/audit?limit=1").json()["audit"]
    assert (entry["action"], entry["subject"]) == ("claims.release", "analyst ann")


def test_an_analyst_is_put_in_quarantine_with_a_reason_and_heard_again(
    page: Page, desk: httpx.Client
) -> None:
    event, *_ = fill(desk, 2)
    stored(label(desk, {"event_id": event, "label": "normal", "analyst": "ann"}))
    stored(label(desk, {"event_id": event, "label": "anomaly", "analyst": "ben"}))
    page.goto(f"{desk.base_url}/team")
    who = page.get_by_role("region", name="Who labelled").locator("tbody tr", has_text="ann")
    expect(who).to_contain_text("1 of 1")
    who.get_by_role("button", name="Quarantine").click()
    assert page.url.endswith("/team")  # the browser asks for the reason
    who.get_by_label("Why, for ann").fill("calls all normal")
    who.get_by_role("button", name="Quarantine").click()
    expect(page.get_by_role("status")).to_contain_text("Nothing that they said counts")
    silenced = page.get_by_role("region", name="In quarantine").locator("tbody tr")
    expect(silenced).to_contain_text("analyst ann")
    expect(silenced).to_contain_text("calls all normal")
    assert [one["name"] for one in desk.get("/analysts").json()["quarantine"]] == ["ann"]
    silenced.get_by_role("button", name="End quarantine").click()
    expect(page.get_by_role("status")).to_contain_text("counts again")
    assert desk.get("/analysts").json()["quarantine"] == []


def test_what_cannot_be_done_is_told_by_a_page(desk: httpx.Client) -> None:
    own = {"Origin": str(desk.base_url)}
    for path, form, status, words in (
        ("quarantine", {"kind": "analyst", "name": "nobody", "why": "x"}, 404, "no label was ever sent"),
        ("quarantine", {"kind": "boss", "name": "ann", "why": "x"}, 422, "analyst or key"),
        ("quarantine", {"kind": "analyst", "name": "ann"}, 422, "why"),
        ("release", {"kind": "analyst", "name": "ann"}, 404, "is in quarantine"),
        ("take-back", {"key": "desk"}, 422, "analyst"),
    ):
        answer = desk.post(f"/team/{path}", data=form, headers=own)
        assert answer.status_code == status
        assert words in answer.text
        assert answer.headers["content-type"].startswith("text/html")


def test_names_are_shown_as_text(desk: httpx.Client) -> None:
    event, *_ = fill(desk, 2)
    hostile = "<img src=x onerror=alert(1)>"
    stored(label(desk, {"event_id": event, "label": "normal", "analyst": hostile}))
    desk.post("/claims", json={"analyst": hostile})
    shown = desk.get("/team").text
    assert "<img" not in shown
    assert shown.count("&lt;img src=x") >= 2


def test_leases_are_summed_up_by_who_holds_them() -> None:
    def lease(key: str, analyst: str, until: str) -> Lease:
        return Lease(event_id="e", why="top", key=key, analyst=analyst, claimed_until=until)

    leases = [lease("a", "ann", "2"), lease("b", "ann", "1"), lease("a", "ann", "3"), lease("a", "ann", "1")]
    assert at_work(leases) == [AtWork("a", "ann", 3, "3"), AtWork("b", "ann", 1, "1")]

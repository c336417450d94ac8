"""The event log in a browser: a filter is a link, what matches gets one verdict, and goes out as CSV."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.service.pages.accessible import check_accessible
from tests.service.pages.conftest import fill


@pytest.fixture
def plain(browser: Browser, desk: httpx.Client) -> Iterator[Page]:
    """A tab without JavaScript."""
    with browser.new_context(java_script_enabled=False) as context:
        yield context.new_page()


def test_what_matches_gets_one_verdict_that_is_shown_first_and_undone_as_one(
    plain: Page, desk: httpx.Client
) -> None:
    ids = fill(desk, 9)  # amounts of 3000, 2990, ... 2920
    plain.goto(f"{desk.base_url}/search")
    plain.get_by_label("Feature").select_option("amount")
    plain.get_by_label("at least").fill("2960")
    plain.get_by_role("button", name="Search").click()
    expect(plain.get_by_role("status")).to_contain_text("5 records")
    plain.get_by_label("tx-2").uncheck()
    plain.get_by_role("button", name="Anomaly").click()
    expect(plain.locator("h1")).to_have_text("Anomaly: 4 records")
    assert desk.get("/feedback").json()["receipts"] == []
    plain.get_by_role("button", name="Store the verdict").click()
    expect(plain.locator(".told")).to_contain_text("Stored, as one verdict")
    said = desk.get("/feedback").json()["receipts"]
    assert {receipt["event_id"] for receipt in said} == {ids[place] for place in (0, 1, 3, 4)}
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator(".told")).to_contain_text("Taken back")
    assert {item["event_id"] for item in desk.get("/queue").json()["queue"]} == set(ids)


def test_the_filter_is_the_address_and_the_form_shows_it_again(plain: Page, desk: httpx.Client) -> None:
    fill(desk, 3)
    asked = "feature=amount&at_least=2985&status=open&since=2020-01-01T02:00:00%2B02:00&anomaly=true"
    plain.goto(f"{desk.base_url}/search?{asked}")
    expect(plain.get_by_role("status")).to_contain_text("2 records")
    expect(plain.get_by_label("Feature")).to_have_value("amount")
    expect(plain.get_by_label("at least")).to_have_value("2985")
    expect(plain.get_by_label("From (UTC)")).to_have_value("2020-01-01T00:00")
    plain.get_by_role("button", name="Search").click()
    expect(plain.get_by_role("status")).to_contain_text("2 records")
    plain.get_by_label("at least").fill("")
    plain.get_by_label("is missing").check()
    plain.get_by_role("button", name="Search").click()
    expect(plain.locator("main")).to_contain_text("Nothing that was kept matches")
    expect(plain.get_by_label("is missing")).to_be_checked()


def test_what_is_shown_goes_out_as_a_table_and_older_ones_are_a_link_away(
    plain: Page, desk: httpx.Client
) -> None:
    fill(desk, 4)
    plain.goto(f"{desk.base_url}/search?feature=amount&at_most=2985&limit=1")
    link = plain.get_by_role("link", name="As CSV").get_attribute("href")
    rows = desk.get(str(link)).text.splitlines()
    assert len(rows) == 1 + 2
    seen = [plain.locator("tbody tr").inner_text()]
    plain.get_by_role("link", name="Older ones").click()
    seen.append(plain.locator("tbody tr").inner_text())
    assert [one.split()[0] for one in seen] == ["tx-3", "tx-2"]


def test_the_page_is_accessible_on_a_phone(page: Page, desk: httpx.Client) -> None:
    fill(desk, 3)
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(f"{desk.base_url}/search")
    expect(page.locator(".count")).to_have_text("3 of 3")
    check_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("prototype=x", "prototype"),
        ("feature=amount", "equals, at_least or at_most"),
        ("at_least=3", "name the one that the value is of"),
        ("since=yesterday", "since"),
        ("model=nobody", "nobody"),
        ("id=%00", "id"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_in_words(desk: httpx.Client, asked: str, told: str) -> None:
    answer = desk.get(f"/search?{asked}")
    assert 400 <= answer.status_code < 500
    assert told in answer.text

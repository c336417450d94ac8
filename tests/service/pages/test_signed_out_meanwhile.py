"""Pages that are open when their session ends, or the service goes away: what is there stays, and says so."""

import re

import httpx
from playwright.sync_api import Page, expect

from nearnorm.service.pages.review import AT_HAND
from tests.service.pages.conftest import fill
from tests.service.pages.test_sign_in_page import desk, keys, ledger, sign_in

__all__ = ["desk", "keys", "ledger"]


def opened(page: Page, desk: httpx.Client, key: str, path: str) -> None:
    page.goto(f"{desk.base_url}{path}")
    sign_in(page, key, "ann")
    page.wait_for_url(re.compile(f"{path}$"))


def test_records_at_hand_stay_when_the_session_ends_and_no_card_becomes_a_form_to_sign_in(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    fill(desk, 20)
    opened(page, desk, keys["bench"], "/review")
    expect(page.locator(".card")).to_have_count(AT_HAND)
    page.context.clear_cookies()
    for _ in range(AT_HAND - 3):  # until few are left, and more are fetched
        page.keyboard.press("n")
    expect(page.locator("#unfetched")).to_contain_text("signed out")
    expect(page.locator(".card")).to_have_count(3)
    page.keyboard.press("j")
    page.wait_for_timeout(600)  # what is told of a record, and what a verdict will do, is fetched by now
    expect(page.locator(".card:not([hidden])")).to_have_count(1)
    assert page.get_by_label("API key").count() == 0


def test_that_nothing_waits_is_not_said_where_nobody_knows(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    fill(desk, 1)
    opened(page, desk, keys["bench"], "/review")
    page.route("**/review/more*", lambda route: route.abort())
    page.keyboard.press("n")
    expect(page.locator("#unfetched")).to_contain_text("cannot be reached")
    expect(page.locator("#empty")).to_be_hidden()


def test_a_loop_that_is_not_followed_any_more_says_so_and_stays(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    opened(page, desk, keys["ops"], "/loop")
    page.get_by_role("button", name="Retrain now").click()
    expect(page.locator("#job-title")).to_contain_text("waiting")
    page.context.clear_cookies()
    (job,) = desk.get("/jobs").json()["jobs"]
    desk.delete(f"/jobs/{job['job_id']}").raise_for_status()
    expect(page.locator("#stale")).to_contain_text("signed out")
    expect(page.locator("#job-title")).to_contain_text("waiting")
    assert page.get_by_label("API key").count() == 0

"""Two analysts at two browsers: no record twice, none lost, also when a browser is killed."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, expect

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.feedback.claims import claims
from nearnorm.service.pages.review import AT_HAND
from tests.service.pages.conftest import fill

RECORDS = 60


def signed_in(context: BrowserContext, desk: httpx.Client, analyst: str) -> Page:
    answer = context.request.post(f"{desk.base_url}/session", data={"analyst": analyst})
    assert answer.status == 201, answer.text()
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(f"{desk.base_url}/review")
    return page


def judge(page: Page, said: list[str], most: int) -> None:
    """Judge what is on the page, so many at most, until nothing is."""
    for _ in range(most):
        if not page.locator(".card:not([hidden])").count():
            return
        said.append(page.locator(".card:not([hidden])").get_attribute("data-name") or "")
        with page.expect_response("**/feedback") as answer:
            page.keyboard.press("n")
        assert answer.value.status == 201


def test_two_analysts_never_get_the_same_record_and_none_is_lost(
    browser: Browser, desk: httpx.Client
) -> None:
    fill(desk, RECORDS)
    people = [signed_in(browser.new_context(), desk, name) for name in ("ann", "bob")]
    said: list[list[str]] = [[], []]
    while sum(map(len, said)) < RECORDS:
        before = sum(map(len, said))
        for page, own in zip(people, said, strict=True):
            judge(page, own, 5)
        if sum(map(len, said)) == before:
            for page in people:
                page.reload()
    assert len(set(said[0]) | set(said[1])) == len(said[0]) + len(said[1]) == RECORDS
    assert min(map(len, said)) >= RECORDS // 3
    assert desk.get("/queue").json()["queue"] == []
    for page in people:
        page.context.close()


def test_what_a_killed_browser_held_goes_to_others_once_its_lease_is_over(
    browser: Browser,
    browser_type: BrowserType,
    browser_type_launch_args: dict[str, Any],
    desk: httpx.Client,
    tmp_path: Path,
) -> None:
    fill(desk, 20)
    victim = browser_type.launch(**browser_type_launch_args)
    said: list[str] = []
    judge(signed_in(victim.new_context(), desk, "ann"), said, 3)
    processes = victim.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    os.kill(next(one["id"] for one in processes if one["type"] == "browser"), signal.SIGKILL)
    page = signed_in(browser.new_context(), desk, "bob")
    judge(page, said, 20)
    assert len(said) == 20 - (AT_HAND - 3)  # what she had at hand is hers until then
    ledger = Ledger.at(None, tmp_path / "home")
    with ledger.write() as connection:
        connection.execute(sa.update(claims).values(until=0))
    ledger.close()
    page.reload()
    judge(page, said, 20)
    expect(page.locator("#empty")).to_be_visible()
    assert len(said) == len(set(said)) == 20
    page.context.close()

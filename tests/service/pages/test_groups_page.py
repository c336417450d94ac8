"""Groups in a browser: one verdict for what is ticked, shown first what it would do, undone as one."""

import time
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.service.asking import RECORD
from tests.service.pages.conftest import fill
from tests.service.waiting import logged, until


@pytest.fixture
def plain(browser: Browser, desk: httpx.Client) -> Iterator[Page]:
    """A tab without JavaScript."""
    with browser.new_context(java_script_enabled=False) as context:
        yield context.new_page()


def open_records(desk: httpx.Client) -> set[str]:
    return {item["event_id"] for item in desk.get("/queue?limit=200").json()["queue"]}


def test_a_group_gets_one_verdict_for_what_is_ticked_and_it_is_undone_as_one(
    page: Page, desk: httpx.Client
) -> None:
    ids = fill(desk, 9)
    page.goto(f"{desk.base_url}/groups")
    group = page.locator(".alike").first
    expect(group.locator("h2")).to_contain_text("amount above")
    group.locator("summary").click()
    expect(group.locator(".count")).to_have_text("9 of 9")
    for name in ("tx-3", "tx-5"):
        group.get_by_label(name, exact=True).uncheck()
    expect(group.locator(".count")).to_have_text("7 of 9")
    group.get_by_label("Comment").fill("one wave")
    group.get_by_role("button", name="Anomaly").click()
    expect(page.locator("h1")).to_have_text("Anomaly: 7 records")
    expect(page.locator(".effects")).to_contain_text("19 more verdicts until a retraining")
    assert open_records(desk) == set(ids), "nothing is stored before it is said to be"
    page.get_by_role("button", name="Store the verdict").click()
    expect(page.locator(".told")).to_contain_text("Stored, as one verdict")
    assert open_records(desk) == {ids[3], ids[5]}
    said = desk.get("/feedback?limit=20").json()["receipts"]
    assert len({receipt["group"] for receipt in said}) == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".told")).to_contain_text("Taken back")
    assert open_records(desk) == set(ids)


@pytest.mark.parametrize("said", ["x", "%00", "01M86E06DH8N5P6N2AWDDB2GRW"])
def test_a_link_cannot_make_the_page_say_that_something_was_stored(desk: httpx.Client, said: str) -> None:
    answer = desk.get(f"/groups?said={said}")
    assert answer.status_code == 200
    assert "Stored" not in answer.text
    assert "Taken back" not in answer.text


def test_all_ticks_go_at_once_and_nothing_ticked_is_no_verdict(page: Page, desk: httpx.Client) -> None:
    fill(desk, 4)
    page.goto(f"{desk.base_url}/groups")
    group = page.locator(".alike").first
    group.locator("summary").click()
    group.get_by_label("all", exact=True).uncheck()
    expect(group.locator(".count")).to_have_text("0 of 4")
    expect(group.get_by_role("button", name="Normal")).to_be_disabled()
    group.get_by_label("all", exact=True).check()
    expect(group.get_by_role("button", name="Normal")).to_be_enabled()


def test_groups_work_without_a_script(plain: Page, desk: httpx.Client) -> None:
    ids = fill(desk, 5)
    plain.goto(f"{desk.base_url}/groups")
    plain.get_by_role("button", name="Normal").first.click()
    expect(plain.locator("h1")).to_have_text("Normal: 5 records")
    inputs = plain.locator("main input").all()
    fields = [(str(one.get_attribute("name")), str(one.get_attribute("value"))) for one in inputs]
    plain.get_by_role("button", name="Store the verdict").click()
    assert not open_records(desk) & set(ids)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": str(desk.base_url).rstrip("/")}
    again = desk.post("/groups/verdict", content=urlencode(fields), headers=form)
    assert again.status_code == 303, again.text
    assert again.headers["location"] == plain.url.removeprefix(str(desk.base_url).rstrip("/"))
    assert len(desk.get("/feedback?limit=50").json()["receipts"]) == 5
    plain.get_by_role("button", name="Undo").click()
    assert open_records(desk) == set(ids)


def slow_down(route: Route) -> None:
    """A busy service: what is asked a second later does not know of it yet."""
    time.sleep(2)
    route.continue_()


def test_a_record_tells_what_a_verdict_will_do_while_nobody_waits(page: Page, desk: httpx.Client) -> None:
    fill(desk, 3)
    page.goto(f"{desk.base_url}/review")
    effects = page.locator(".card:not([hidden]) .effects")
    expect(effects).to_contain_text("19 more verdicts until a retraining")
    expect(effects.locator("dt")).to_have_text(["Anomaly", "Normal"])
    page.route("**/feedback", slow_down)
    page.keyboard.press("a")
    expect(page.locator(".card:not([hidden]) h2")).to_have_text("tx-1")
    expect(effects).to_contain_text("18 more verdicts until a retraining")


def test_without_a_script_a_link_leads_to_what_a_verdict_will_do(plain: Page, desk: httpx.Client) -> None:
    ids = fill(desk, 3)
    plain.goto(f"{desk.base_url}/review")
    plain.get_by_role("link", name="What will this do?").first.click()
    expect(plain.locator(".effects")).to_contain_text("19 more verdicts until a retraining")
    assert open_records(desk) == set(ids)
    plain.get_by_role("button", name="Anomaly").click()
    expect(plain.locator("#told")).to_contain_text("Stored: anomaly")
    assert open_records(desk) == set(ids[1:])


def test_what_records_hold_is_text_on_the_page_of_groups(page: Page, desk: httpx.Client) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202egnp"
    ids = [f"<b>{place}</b>" for place in range(3)]
    records = [RECORD | {"country": hostile, "amount": 60.0 + place} for place in range(3)]
    desk.post("/score", json={"records": records, "ids": ids}).raise_for_status()
    until(lambda: logged(desk))
    page.goto(f"{desk.base_url}/groups")
    expect(page.locator(".alike").first.locator("h2")).to_contain_text(
        "country is <img src=x onerror=alert(1)>[U+202E]"
    )
    assert page.locator("main img, main b").count() == 0
    page.locator(".alike summary").first.click()
    expect(page.get_by_label("<b>1</b>", exact=True)).to_be_visible()

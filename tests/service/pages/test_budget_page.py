"""The alert budget in a browser: by the slider, and without a script."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.ledger.database import Ledger
from tests.service.asking import STRANGE, label, stored
from tests.service.pages.accessible import check_accessible
from tests.service.verdict.test_policy import hours_of
from tests.service.waiting import logged, until


@pytest.fixture
def desk(desk: httpx.Client, payments: Bundle, tmp_path: Path) -> httpx.Client:
    """A service that has seen nine days of 24,000 records."""
    ledger = Ledger.at(None, tmp_path / "home")
    hours_of(ledger, payments.version, 9, 1000)
    ledger.close()
    desk.put("/policy", json={"budget": "240 a day"}).raise_for_status()
    return desk


@pytest.fixture
def plain(browser: Browser, desk: httpx.Client) -> Iterator[Page]:
    """A tab without JavaScript."""
    with browser.new_context(java_script_enabled=False) as context:
        yield context.new_page()


def policy(desk: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = desk.get("/policy").json()["policy"]
    return found


def test_the_slider_shows_what_a_budget_would_come_to_and_saves_it(page: Page, desk: httpx.Client) -> None:
    page.goto(f"{desk.base_url}/budget")
    slider = page.get_by_role("slider")
    expect(page.locator("#chosen")).to_have_text("240 a day")
    alerts = page.locator("[data-field=alerts]")
    before = alerts.inner_text()
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#chosen")).to_have_text("300 a day")
    expect(alerts).not_to_have_text(before)
    expect(slider).to_have_attribute("aria-valuetext", page.locator("option:checked").inner_text())
    assert policy(desk)["budget"] == "240 a day"
    page.get_by_role("button", name="Save").first.click()
    expect(page.locator("#in-force")).to_have_text("In force: 300 a day")
    assert policy(desk)["budget"] == "300 a day"
    page.get_by_role("button", name="Undo: back to 240 a day").click()
    expect(page.locator("#in-force")).to_have_text("In force: 240 a day")
    assert policy(desk)["version"] == 3


@pytest.mark.parametrize("width", [360, 1200])
def test_the_curve_is_drawn_from_verdicts_and_accessible(page: Page, desk: httpx.Client, width: int) -> None:
    desk.put("/policy", json={"budget": "5000 a day"}).raise_for_status()  # strange ones alert by score
    records = [STRANGE | {"amount": 150.0 + 10 * i} for i in range(90)]
    events = [one["event_id"] for one in desk.post("/score", json={"records": records}).json()["results"]]
    until(lambda: logged(desk))
    words = ["anomaly" if i % 3 else "normal" for i in range(90)]
    labels = [{"event_id": event, "label": word} for event, word in zip(events, words, strict=True)]
    stored(label(desk, *labels))
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{desk.base_url}/budget")
    expect(page.locator(".curve polyline.precision")).to_have_count(1)
    expect(page.locator("[data-field=precision]")).to_contain_text("about")
    expect(page.locator("#here")).to_have_attribute("x1", str(page.locator(".now").get_attribute("x1")))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    check_accessible(page)


def test_without_a_script_a_budget_is_chosen_from_a_list(plain: Page, desk: httpx.Client) -> None:
    plain.goto(f"{desk.base_url}/budget")
    expect(plain.locator("#slider")).to_be_hidden()
    plain.get_by_label("A budget").select_option("500 a day")
    plain.get_by_role("button", name="Save").first.click()
    expect(plain.locator("#in-force")).to_have_text("In force: 500 a day")
    plain.get_by_role("link", name="Share of all traffic").click()
    plain.get_by_label("A budget").select_option("2% of traffic")
    plain.get_by_role("button", name="Save").first.click()
    expect(plain.locator(".kinds [aria-current]")).to_have_text("Share of all traffic")
    assert policy(desk)["budget"] == "2% of traffic"


def test_promised_forecast_and_raised_stand_side_by_side(plain: Page, desk: httpx.Client) -> None:
    plain.goto(f"{desk.base_url}/budget")
    three = plain.locator(".three")
    expect(three).to_contain_text("240 alerts a day, as the mean of a week")
    expect(three).to_contain_text("of 24,000 records")
    expect(three).to_contain_text("1,344 in a week (840 by score, 168 as new, 336 by label)")


def test_another_budget_is_typed_and_one_that_cannot_be_is_refused_in_words(
    plain: Page, desk: httpx.Client
) -> None:
    for text, told in (("12 each day", "In force: 12 each day"), ("much", "is no budget")):
        plain.goto(f"{desk.base_url}/budget")
        plain.get_by_text("Another budget, in words").click()
        plain.get_by_label("Such as").fill(text)
        plain.get_by_role("button", name="Save").last.click()
        expect(plain.locator("main")).to_contain_text(told)
    assert policy(desk)["budget"] == "12 each day"

"""The overview in a browser, without JavaScript: figures as pictures and as tables."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.api.overview import PeriodFigures
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.pages.pictures.bars import BOTTOM, LEFT, RIGHT, TOP, bar_picture
from tests.service.asking import RECORD, label, stored
from tests.service.pages.accessible import check_accessible
from tests.service.pages.conftest import fill
from tests.service.verdict.test_policy import hours_of
from tests.service.waiting import until


@pytest.fixture
def plain(browser: Browser, desk: httpx.Client) -> Iterator[Page]:
    """A tab without JavaScript."""
    with browser.new_context(java_script_enabled=False) as context:
        yield context.new_page()


def period(start: str, **counts: int) -> PeriodFigures:
    names = ("rows", "alerts", "by_score", "by_novelty", "by_label", "labelled_anomaly", "labelled_normal")
    more = ("retracted", "reviewed", "found", "compared")
    figures: dict[str, float | None] = dict.fromkeys((*names, *more, "analyst_hours"), 0)
    shares = dict.fromkeys(("found_per_record", "found_per_hour", "agreement"))
    return PeriodFigures.model_validate({"start": start} | figures | shares | counts)


def test_what_was_scored_alerted_judged_and_found_is_told_for_the_time_that_is_picked(
    plain: Page, desk: httpx.Client, payments: Bundle, tmp_path: Path
) -> None:
    ledger = Ledger.at(None, tmp_path / "home")
    hours_of(ledger, payments.version, 20, 1000)
    ledger.close()
    first, second, third, *_ = fill(desk, 4)
    said = (("anomaly", first), ("anomaly", second), ("normal", third))
    stored(label(desk, *({"event_id": event_id, "label": what} for what, event_id in said)))
    plain.goto(f"{desk.base_url}/overview")
    total = plain.locator("dl.three").first
    expect(total).to_contain_text("2 anomaly, 1 normal, 0 taken back")
    expect(total).to_contain_text("2 of 3 reviewed records, 66.67%")
    expect(total).to_contain_text("of 480,0")
    plain.get_by_role("link", name="A week").click()
    expect(plain.locator(".kinds [aria-current]")).to_have_text("A week")
    expect(total).not_to_contain_text("of 480,0")
    plain.get_by_text("The figures").first.click()
    newest_hour = plain.get_by_role("table").first.locator("tbody tr").first
    expect(newest_hour).to_contain_text("66.67%")
    expect(plain.locator("svg rect.found").first).to_be_attached()
    expect(plain.get_by_role("img", name="Alerts, at most").first).to_be_visible()


def test_pictures_and_tables_are_accessible_on_a_phone(
    page: Page, desk: httpx.Client, payments: Bundle, tmp_path: Path
) -> None:
    ledger = Ledger.at(None, tmp_path / "home")
    hours_of(ledger, payments.version, 20, 1000)
    ledger.close()
    desk.post("/score", json={"records": [RECORD] * 1_000}).raise_for_status()
    until(lambda: desk.get("/drift").json()["rows"] > 0)
    stored(label(desk, {"record": RECORD, "label": "anomaly"}))
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(f"{desk.base_url}/overview")
    for summary in page.locator("summary").all():
        summary.click()
    check_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_new_service_says_what_it_takes_and_draws_nothing(plain: Page, desk: httpx.Client) -> None:
    plain.goto(f"{desk.base_url}/overview")
    expect(plain.locator("main")).to_contain_text(
        "What it takes to know agreement: a record that two analysts"
    )
    expect(plain.locator("dl.three").first).to_contain_text("nobody has judged anything")
    expect(plain.locator(".charts svg")).to_have_count(0)
    expect(plain.locator("#quality + p")).to_contain_text("refused 0 with an error")


def test_groups_and_features_are_shown_beside_what_is_usual(plain: Page, desk: httpx.Client) -> None:
    wrong = RECORD | {"amount": "much"}
    desk.post("/score", json={"records": [*[RECORD] * 1_000, wrong]}).raise_for_status()
    until(lambda: desk.get("/drift").json()["rows"] > 0)
    plain.goto(f"{desk.base_url}/overview")
    drift = desk.get("/drift").json()
    groups = plain.get_by_role("region", name="Shares of groups").locator("tbody tr")
    expect(groups).to_have_count(len(drift["prototypes"]["shares"]))
    expect(plain.locator("#quality + p")).to_contain_text("scored 1,000 records, and refused 1 with an error")
    plain.get_by_text("Missing and unknown values by feature").click()
    features = plain.get_by_role("region", name="Missing and unknown values by feature")
    expect(features).to_contain_text("amount")
    expect(plain.locator("#drift ~ p strong")).to_have_text("The traffic drifts.")


def test_a_time_that_cannot_be_is_refused_in_words(plain: Page, desk: httpx.Client) -> None:
    plain.goto(f"{desk.base_url}/overview?days=1000")
    expect(plain.locator("main")).to_contain_text("days")


def test_bars_stack_their_parts_up_to_the_highest() -> None:
    periods = [period("1", by_score=3, by_label=1), period("2", by_score=1), period("3")]
    picture = bar_picture(periods, {"a": lambda one: one.by_score, "b": lambda one: one.by_label})
    assert picture is not None
    assert [block.name for block in picture.blocks] == ["a", "b", "a"]
    low, top, other = picture.blocks
    assert (top.y, low.y + low.height) == (TOP, BOTTOM)
    assert low.y == pytest.approx(top.y + top.height, abs=0.11)
    assert low.height == pytest.approx(3 * other.height, abs=0.2)
    assert LEFT <= low.x < other.x < RIGHT
    assert picture.most == "4"
    assert bar_picture([period("1")], {"a": lambda one: one.rows}) is None

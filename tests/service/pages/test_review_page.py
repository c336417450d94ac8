"""From an alert to a verdict in a browser: by keys, by forms, and when the service is away."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.api.review.skips import REASONS
from tests.service.asking import STRANGE, score, stored
from tests.service.asking import label as say
from tests.service.pages.conftest import fill
from tests.service.waiting import until


@pytest.fixture
def review(page: Page, desk: httpx.Client) -> Callable[[], Page]:
    """Opens the review page."""

    def opened() -> Page:
        page.goto(f"{desk.base_url}/review")
        return page

    return opened


def shown(page: Page) -> str:
    return page.locator(".card:not([hidden]) h2").inner_text()


def waiting(desk: httpx.Client) -> set[str]:
    """The ids of the records that nobody has judged."""
    return {item["id"] for item in desk.get("/queue?limit=200").json()["queue"]}


def named(*places: int) -> set[str]:
    return {f"tx-{place}" for place in places}


def test_the_root_leads_to_the_review(desk: httpx.Client) -> None:
    assert desk.get("/").headers["location"] == "/review"


def test_a_verdict_is_one_key_and_the_next_record_is_there_at_once(
    review: Callable[[], Page], desk: httpx.Client
) -> None:
    fill(desk, 12)
    page = review()
    assert shown(page) == "tx-0"
    page.keyboard.press("a")
    assert shown(page) == "tx-1"
    page.keyboard.press("n")
    assert shown(page) == "tx-2"
    expect(page.locator("#unread")).to_have_text("2")
    assert waiting(desk) == named(*range(2, 12))


def test_more_records_come_before_the_last_is_judged(review: Callable[[], Page], desk: httpx.Client) -> None:
    fill(desk, 20)
    page = review()
    seen = []
    for _ in range(20):
        seen.append(shown(page))
        page.keyboard.press("n")
    assert set(seen) == named(*range(20))
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#unread")).to_have_text("20")
    assert waiting(desk) == set()


def test_a_key_takes_back_what_was_said(review: Callable[[], Page], desk: httpx.Client) -> None:
    fill(desk, 4)
    page = review()
    page.keyboard.press("a")
    page.keyboard.press("u")
    expect(page.locator("#told")).to_have_text("Taken back.")
    assert shown(page) == "tx-0"
    assert waiting(desk) == named(0, 1, 2, 3)
    page.keyboard.press("n")  # and says it otherwise
    expect(page.locator("#unread")).to_have_text("1")
    assert waiting(desk) == named(1, 2, 3)


def test_a_comment_goes_with_the_verdict(review: Callable[[], Page], desk: httpx.Client) -> None:
    event_id = fill(desk, 2)[0]
    page = review()
    page.keyboard.press("c")
    page.keyboard.type("a stolen card, n and a are letters here")
    page.keyboard.press("Enter")
    with page.expect_response("**/feedback") as answer:
        page.keyboard.press("a")
    assert answer.value.status == 201
    comment = "a stolen card, n and a are letters here"
    labels = [{"event_id": event_id, "label": "anomaly", "comment": comment}]
    assert answer.value.request.post_data_json == {"model": "default", "labels": labels}


def test_keys_move_between_records_without_judging_any(
    review: Callable[[], Page], desk: httpx.Client
) -> None:
    fill(desk, 3)
    page = review()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert shown(page) == "tx-2"
    page.keyboard.press("k")
    assert shown(page) == "tx-1"
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("a")  # while the keys are explained they do nothing
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    assert waiting(desk) == named(0, 1, 2)


def test_what_could_not_be_stored_says_so_and_stays(review: Callable[[], Page], desk: httpx.Client) -> None:
    fill(desk, 4)
    page = review()
    page.context.set_offline(True)
    page.keyboard.press("a")
    assert shown(page) == "tx-1"
    expect(page.locator("#unstored li")).to_contain_text("anomaly: tx-0: the service cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#unstored")).to_be_hidden()
    expect(page.locator("#unread")).to_have_text("1")
    assert waiting(desk) == named(1, 2, 3)


def test_a_refused_verdict_is_told_in_the_words_of_the_problem(
    review: Callable[[], Page], desk: httpx.Client
) -> None:
    fill(desk, 2)
    page = review()
    assert desk.post("/forget", json={"record_id": "tx-0"}).status_code == 200
    page.keyboard.press("a")
    expect(page.locator("#unstored li")).to_contain_text("no such event is kept")


def test_closing_the_page_gives_the_records_back(review: Callable[[], Page], desk: httpx.Client) -> None:
    fill(desk, 3)
    page = review()
    assert len(held_by_another(desk)) == 0
    page.goto("about:blank")
    until(lambda: held_by_another(desk) == named(0, 1, 2))


def test_a_second_page_keeps_what_the_first_gives_back_when_it_is_closed(
    review: Callable[[], Page], desk: httpx.Client
) -> None:
    fill(desk, 3)
    page = review()
    second = page.context.new_page()
    second.goto(f"{desk.base_url}/review")
    page.goto("about:blank")
    page.wait_for_timeout(500)  # nothing tells when a closed page's last words have come
    assert held_by_another(desk) == set()


def held_by_another(desk: httpx.Client) -> set[str]:
    """What somebody else may have now."""
    answer = desk.post("/claims", json={"analyst": "somebody else"})
    return {item["id"] for item in answer.json()["claims"]}


def test_a_record_is_skipped_with_a_reason_and_is_offered_to_others(
    review: Callable[[], Page], desk: httpx.Client
) -> None:
    event_id = fill(desk, 3)[0]
    page = review()
    page.keyboard.press("s")
    expect(page.locator("#skip")).to_be_visible()
    with page.expect_response("**/claims/skip") as answer:
        page.keyboard.press("3")
    assert answer.value.status == 200
    assert shown(page) == "tx-1"
    assert desk.get(f"/events/{event_id}").json()["skips"][0]["reason"] == REASONS[2]
    page.reload()
    expect(page.locator("#next li")).to_have_count(2)
    assert held_by_another(desk) == {"tx-0"}


def test_a_record_is_snoozed_for_everybody_with_what_it_waits_for_and_woken(
    review: Callable[[], Page], desk: httpx.Client
) -> None:
    event_id = fill(desk, 3)[0]
    page = review()
    page.keyboard.press("z")
    page.keyboard.type("the bank calls back")
    with page.expect_response("**/snoozes") as answer:
        page.keyboard.press("Enter")
    assert answer.value.status == 200
    assert shown(page) == "tx-1"
    page.reload()
    expect(page.locator("#next li")).to_have_count(2)
    assert held_by_another(desk) == set()
    page.goto(f"{desk.base_url}/review?event={event_id}")
    about = page.locator(".card:not([hidden]) .about")
    expect(about).to_contain_text("the bank calls back")
    about.get_by_role("button", name="Wake it").click()
    expect(about).not_to_contain_text("the bank calls back")
    expect(page.locator("#next li")).to_have_count(3)


def test_what_others_said_is_shown_once_one_has_judged(
    review: Callable[[], Page], desk: httpx.Client
) -> None:
    event_id = fill(desk, 2)[0]
    said = {"event_id": event_id, "label": "normal", "analyst": "mei", "comment": "<b>a refund</b>"}
    stored(say(desk, said))
    page = review()
    page.goto(f"{desk.base_url}/review?event={event_id}")
    assert shown(page) == "tx-0"
    assert page.get_by_text("mei").count() == 0
    page.keyboard.press("a")
    expect(page.locator("#unread")).to_have_text("0")  # two who disagree teach nothing
    page.goto(f"{desk.base_url}/review?event={event_id}")
    expect(page.locator(".card:not([hidden]) .about")).to_contain_text("normal: <b>a refund</b>")


def test_the_records_of_the_same_id_are_linked(review: Callable[[], Page], desk: httpx.Client) -> None:
    fill(desk, 1)
    score(desk, STRANGE | {"amount": 5000.0}, "tx-0")
    until(lambda: len(desk.get("/queue").json()["queue"]) == 2)
    page = review()
    before = page.locator(".card:not([hidden])").get_attribute("data-event")
    page.get_by_text("The same id before: 1").click()
    page.locator(".card:not([hidden]) .about a").click()
    expect(page.locator(".card:not([hidden]) h2")).to_have_text("tx-0")
    assert page.locator(".card:not([hidden])").get_attribute("data-event") != before


def test_everything_works_without_a_script(browser: Browser, desk: httpx.Client) -> None:
    fill(desk, 3)
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{desk.base_url}/review")
    page.get_by_role("link", name="tx-1").click()
    assert shown(page) == "tx-1"
    page.locator(".card:not([hidden])").get_by_label("Comment").fill("on paper")
    page.locator(".card:not([hidden])").get_by_role("button", name="Anomaly").click()
    expect(page.locator("#told")).to_contain_text("Stored: anomaly")
    assert waiting(desk) == named(0, 2)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#told")).to_contain_text("Taken back")
    assert waiting(desk) == named(0, 1, 2)
    name = shown(page)
    page.locator(".card:not([hidden])").get_by_label("Why you will not judge it").fill("no time")
    page.locator(".card:not([hidden])").get_by_role("button", name="Skip").click()
    expect(page.locator("#next li")).to_have_count(2)
    assert name not in page.locator("#next").inner_text()
    page.locator(".card:not([hidden])").get_by_label("What it waits for").fill("a call")
    page.locator(".card:not([hidden])").get_by_label("For how long").select_option("a week")
    page.locator(".card:not([hidden])").get_by_role("button", name="Snooze").click()
    expect(page.locator("#next li")).to_have_count(1)
    assert [one["reason"] for one in desk.get("/snoozes").json()["snoozes"]] == ["a call"]
    page.context.close()


def test_a_hostile_record_is_shown_as_text(review: Callable[[], Page], desk: httpx.Client) -> None:
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    fill(desk, 1, country=f"{markup}\u202eevil{'x' * 900}")
    page = review()
    values = page.locator(".card:not([hidden]) .values")
    expect(values).to_contain_text(f"{markup}[U+202E]evil")
    assert page.locator(".card img, .card script").count() == 0


def test_a_record_without_reasons_is_shown_too(review: Callable[[], Page], desk: httpx.Client) -> None:
    stored(say(desk, {"event_id": fill(desk, 1)[0], "label": "normal"}))
    score(desk, {"amount": 50.0, "channel": "web"})
    until(lambda: desk.get("/queue").json()["queue"])
    page = review()
    expect(page.locator(".card:not([hidden]) h2")).to_have_text("A record without an id")


def test_an_unknown_model_is_a_page_that_says_so(desk: httpx.Client) -> None:
    answer = desk.get("/review?model=nobody")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "nobody" in answer.text


def test_a_score_of_another_version_is_not_held_against_the_threshold_of_now(
    desk: httpx.Client, tmp_path: Path, other_bundle: Bundle
) -> None:
    fill(desk, 1)
    assert "alerts begin at a score of" in desk.get("/review").text
    store = ModelStore(tmp_path / "home" / "models")
    store.activate(store.publish(other_bundle.path), by="test")
    until(lambda: "by the version that scored it" in desk.get("/review").text)
    assert "alerts begin at a score of" not in desk.get("/review").text

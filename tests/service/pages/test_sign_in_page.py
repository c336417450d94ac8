"""Signing in and out in a browser, with a script and without; what is shown to whom."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.access import keyring
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.settings import Settings
from tests.service.access.test_keys import gone, made
from tests.service.pages.conftest import fill
from tests.service.running import home_with, serving

KEYS = {"bench": ("feedback",), "ops": ("operate",), "boss": ("operate", "feedback"), "gateway": ("score",)}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.at(None, tmp_path / "home")
    yield opened
    opened.close()


@pytest.fixture
def keys(tmp_path: Path, payments: Bundle, ledger: Ledger) -> dict[str, str]:
    home_with(tmp_path / "home", payments)
    migrate(ledger)
    return {name: made(ledger, name, *roles) for name, roles in {**KEYS, "all": keyring.ROLES}.items()}


@pytest.fixture
def desk(tmp_path: Path, keys: dict[str, str]) -> Iterator[httpx.Client]:
    """A service that needs keys, in the place of the open one; the client has a key of every role."""
    app = create_app(Settings(home=tmp_path / "home", audit_rate=1.0, reference_reviews=0))
    with serving(app) as client:
        client.headers["X-API-Key"] = keys["all"]
        yield client


def sign_in(page: Page, key: str, name: str = "") -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Sign in").click()


def links(page: Page) -> list[str]:
    return page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()


def send_form(desk: httpx.Client, path: str, origin: str | None = None, **fields: str) -> httpx.Response:
    """As a browser sends a form that is on a page of `origin`, by default ours; it has no key."""
    kind = "application/x-www-form-urlencoded"
    headers = {"Origin": origin or str(desk.base_url).rstrip("/"), "Content-Type": kind}
    with httpx.Client(base_url=desk.base_url, cookies=desk.cookies, timeout=60) as browser:
        return browser.post(path, content=urlencode(fields), headers=headers)


def test_who_is_not_signed_in_is_asked_to_and_comes_where_he_wanted_to(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    events = fill(desk, 3)
    wanted = f"{desk.base_url}/review?model=default&event={events[1]}"
    page.goto(wanted)
    assert urlsplit(page.url).path == "/sign-in"
    expect(page.get_by_label("API key")).to_be_focused()
    sign_in(page, keys["bench"], "ann")
    page.wait_for_url(wanted)
    assert page.locator(".card:not([hidden]) h2").inner_text() == "tx-1"
    expect(page.locator("body > header")).to_contain_text("ann")


def test_the_browser_holds_no_key_and_no_script_reads_the_cookie(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    page.goto(f"{desk.base_url}/review")
    sign_in(page, keys["bench"], "ann")
    page.wait_for_url(re.compile("/review$"))
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (COOKIE, True, "Lax")
    assert keys["bench"] not in page.content() + str(cookie)


def test_a_wrong_key_is_told_with_the_mend_and_the_name_stays(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    page.goto(f"{desk.base_url}/review")
    sign_in(page, "nn_wrong", "ann")
    told = page.get_by_role("alert")
    expect(told).to_contain_text("unknown or was revoked")
    expect(told).to_contain_text("nearnorm keys create")
    expect(page.get_by_label("Your name")).to_have_value("ann")
    expect(page.get_by_label("API key")).to_have_value("")
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_label("API key").fill(f" {keys['bench']} ")  # as it is copied
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/review$"))


def test_a_verdict_by_key_is_the_analysts_and_log_out_ends_it(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    fill(desk, 3)
    page.goto(f"{desk.base_url}/review")
    sign_in(page, keys["bench"], "ann")
    page.wait_for_url(re.compile("/review$"))
    page.keyboard.press("a")
    expect(page.locator("#unread")).to_have_text("1")
    (analyst,) = desk.get("/analysts").json()["analysts"]
    assert (analyst["analyst"], analyst["keys"]) == ("ann", ["bench"])
    assert len(desk.get("/claims?everybody=true").json()["claims"]) == 2
    secret = page.context.cookies()[0].get("value")
    page.wait_for_load_state("networkidle")  # a renewal under way would claim once more
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile("/sign-in$"))
    assert page.context.cookies() == []
    assert desk.get("/claims?everybody=true").json()["claims"] == []
    with httpx.Client(base_url=desk.base_url, cookies={COOKIE: str(secret)}, timeout=60) as thief:
        assert thief.get("/session").status_code == 401


def test_signing_in_judging_and_logging_out_need_no_script(
    browser: Browser, desk: httpx.Client, keys: dict[str, str]
) -> None:
    fill(desk, 2)
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{desk.base_url}/")
        sign_in(page, keys["bench"])
        page.wait_for_url(re.compile("/review$"))
        page.locator(".card:not([hidden])").get_by_role("button", name="Normal").click()
        expect(page.get_by_role("status")).to_contain_text("Stored: normal")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(re.compile("/sign-in$"))
    assert [one["analyst"] for one in desk.get("/analysts").json()["analysts"]] == ["bench"]


def test_a_verdict_whose_session_ended_stays_and_is_stored_once_the_same_analyst_is_back(
    page: Page, desk: httpx.Client, keys: dict[str, str], ledger: Ledger
) -> None:
    fill(desk, 3)
    page.goto(f"{desk.base_url}/review")
    sign_in(page, keys["bench"], "ann")
    page.wait_for_url(re.compile("/review$"))
    page.context.clear_cookies()
    page.keyboard.press("a")
    expect(page.locator("#unstored")).to_contain_text("signed out")
    tab = page.context.new_page()
    tab.goto(f"{desk.base_url}/sign-in")
    sign_in(tab, keys["bench"], "ben")
    tab.wait_for_url(re.compile("/review$"))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#unstored")).to_contain_text("load the page again")  # it is not ben's
    tab.goto(f"{desk.base_url}/sign-in")
    sign_in(tab, keys["bench"], "ann")
    tab.wait_for_url(re.compile("/review$"))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#unstored")).to_be_hidden()
    assert [one["analyst"] for one in desk.get("/analysts").json()["analysts"]] == ["ann"]


def test_who_has_a_revoked_key_is_asked_to_sign_in(
    page: Page, desk: httpx.Client, keys: dict[str, str], ledger: Ledger
) -> None:
    page.goto(f"{desk.base_url}/review")
    sign_in(page, keys["bench"], "ann")
    page.wait_for_url(re.compile("/review$"))
    with ledger.write() as connection:
        keyring.revoke(connection, "bench", "test")
    gone(desk, keys["bench"])
    page.reload()
    assert urlsplit(page.url).path == "/sign-in"
    assert parse_qs(urlsplit(page.url).query) == {"next": ["/review"]}
    sign_in(page, keys["bench"], "ann")
    expect(page.get_by_role("alert")).to_contain_text("revoked")


def test_the_navigation_has_what_the_visitors_roles_open(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    page.goto(f"{desk.base_url}/sign-in")
    assert links(page) == []
    for key, first, offered in (
        ("bench", "/review", ["Review", "Groups", "Search", "Loop", "Budget", "Overview"]),
        ("boss", "/review", ["Review", "Groups", "Search", "Loop", "Budget", "Overview", "Team"]),
        ("ops", "/loop", ["Loop", "Budget", "Team"]),
        ("gateway", "/", []),
    ):
        page.goto(f"{desk.base_url}/sign-in")
        sign_in(page, keys[key])
        page.wait_for_url(f"{desk.base_url}{first}")
        assert links(page) == offered
    expect(page.get_by_role("main")).to_contain_text("role score alone")
    answer = page.goto(f"{desk.base_url}/review")
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_who_operates_starts_a_job_and_follows_it_by_the_session(
    page: Page, desk: httpx.Client, keys: dict[str, str]
) -> None:
    page.goto(f"{desk.base_url}/loop")
    sign_in(page, keys["ops"])
    page.get_by_role("button", name="Retrain now").click()
    expect(page.locator("#job-title")).to_contain_text("waiting")
    assert page.locator("#receipts").count() == 0  # what labels became is for who may label
    (job,) = desk.get("/jobs").json()["jobs"]
    assert job["requested_by"] == "ops"
    desk.delete(f"/jobs/{job['job_id']}").raise_for_status()
    expect(page.locator("#job-title")).to_contain_text("cancelled")  # by the stream: nobody loaded it again
    page.goto(f"{desk.base_url}/budget")
    page.get_by_text("Another budget, in words").click()
    page.get_by_label("Such as").fill("2% of normal")
    page.get_by_role("button", name="Save").last.click()
    expect(page.locator("#in-force")).to_have_text("In force: 2% of normal")
    assert desk.get("/policy").json()["policy"]["by"] == "ops"


def test_a_form_without_the_sessions_token_is_refused(desk: httpx.Client, keys: dict[str, str]) -> None:
    (event, *_) = fill(desk, 1)
    del desk.headers["X-API-Key"]
    token = desk.post("/session", json={"key": keys["bench"], "analyst": "ann"}).json()["csrf"]
    said = {"event_id": event, "label": "anomaly"}
    for fields in ({}, {"csrf": ""}, {"csrf": token[::-1]}):
        for path, form in (
            ("/review/verdict", said),
            ("/review/undo", {"feedback_id": "x"}),
            ("/sign-out", {}),
        ):
            refused = send_form(desk, path, **form, **fields)
            assert refused.status_code == 403
            assert "load the page again" in refused.text
    assert send_form(desk, "/review/verdict", **said, csrf=token).status_code == 303
    assert send_form(desk, "/sign-out", csrf=token).status_code == 303


def test_a_form_of_another_site_signs_nobody_in(desk: httpx.Client, keys: dict[str, str]) -> None:
    refused = send_form(desk, "/sign-in", "https://evil.example", key=keys["bench"])
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers
    assert "set-cookie" in send_form(desk, "/sign-in", key=keys["bench"]).headers


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/%0a\n//evil.example",
        "",
    ],
)
def test_a_link_to_the_sign_in_page_leads_to_no_other_site(
    desk: httpx.Client, keys: dict[str, str], to: str
) -> None:
    assert send_form(desk, "/sign-in", key=keys["bench"], next=to).headers["location"] == "/"
    shown = desk.get("/sign-in", params={"next": to}).text
    assert 'name="next" value="/"' in shown
    assert "evil.example" not in shown


def test_what_is_typed_is_shown_as_text(desk: httpx.Client) -> None:
    hostile = '"><script>alert(1)</script>\u202e'
    shown = send_form(desk, "/sign-in", key=hostile, analyst=hostile)
    assert shown.status_code == 401
    assert "<script>alert" not in shown.text
    bad = send_form(desk, "/sign-in", key="nn_x", analyst="x" * 201)
    assert bad.status_code == 401

"""A service with pages, records to review, and Debian's browser to open them with."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserType, Page, Playwright, sync_playwright

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.asking import STRANGE
from tests.service.running import home_with, serving
from tests.service.waiting import logged, until

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
    return {"executable_path": CHROMIUM, "args": [*quiet, "--disable-sync", "--no-first-run"]}


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """In place of the plugin's, which lives as long as the session: while it does, asyncio runs nothing else
    in its thread, and other rooms' tests do."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser_type(playwright: Playwright) -> BrowserType:
    return playwright.chromium


@pytest.fixture(scope="module")
def browser(browser_type: BrowserType, browser_type_launch_args: dict[str, Any]) -> Iterator[Browser]:
    opened = browser_type.launch(**browser_type_launch_args)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    """What a new context has beside its defaults: nothing."""
    return {}


@pytest.fixture(scope="session")
def base_url() -> str | None:
    """In place of the plugin's own, whose kind of fixture pytest warns of: tests name whole addresses."""
    return None


@pytest.fixture
def desk(tmp_path: Path, payments: Bundle) -> Iterator[httpx.Client]:
    yield from opened(tmp_path, payments)


def opened(folder: Path, bundle: Bundle) -> Iterator[httpx.Client]:
    """A service on loopback without keys; every row is kept."""
    settings = Settings(home=home_with(folder / "home", bundle), audit_rate=1.0, reference_reviews=0)
    with serving(create_app(settings)) as client:
        yield client


@pytest.fixture
def page(page: Page, desk: httpx.Client) -> Page:
    """A tab of which nothing may go wrong silently: errors of scripts, what the policy stops, other hosts."""
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    page.on("console", lambda message: _check_console(message.type, message.text))
    page.on("request", lambda request: _check_host(request.url, str(desk.base_url)))
    page.set_default_timeout(20_000)
    return page


def _check_console(kind: str, text: str) -> None:
    if kind == "error" and "Content Security Policy" in text:
        pytest.fail(text)


def _check_host(url: str, base: str) -> None:
    if not url.startswith((base, "data:")):
        pytest.fail(f"a request left the host: {url}")


def fill(desk: httpx.Client, count: int, **more: Any) -> list[str]:
    """So many different strange records to review, `tx-0` the strangest; their event ids."""
    records = [STRANGE | {"amount": 3000.0 - 10 * place} | more for place in range(count)]
    body = {"records": records, "ids": [f"tx-{place}" for place in range(count)]}
    answer = desk.post("/score", json=body)
    assert answer.status_code == 200, answer.text
    until(lambda: logged(desk))
    found = [result["event_id"] for result in answer.json()["results"]]
    until(lambda: len(desk.get(f"/queue?limit={min(count, 200)}").json()["queue"]) == min(count, 200))
    return found

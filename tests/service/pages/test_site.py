"""What every page keeps to: this host alone, no script inside it, small, fit for every eye and hand."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

import nearnorm.service.pages
from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.pages.frame.views import VIEWS
from nearnorm.service.pages.routes import FORMS
from nearnorm.service.settings import Settings
from tests.service.pages.accessible import check_accessible
from tests.service.pages.conftest import fill, opened
from tests.service.running import home_with, serving

VENDOR = Path(nearnorm.service.pages.__file__).parent / "static" / "vendor"
PATHS = ["/sign-in", *(view.path for view in VIEWS)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, payments: Bundle) -> Iterator[httpx.Client]:
    """Nothing here judges more than one of its twenty records."""
    for client in opened(tmp_path_factory.mktemp("desk"), payments):
        fill(client, 20)
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_a_page_asks_this_host_alone_and_runs_nothing_that_it_brings_along(
    desk: httpx.Client, path: str
) -> None:
    answer = desk.get(path)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    for inline in ("<script>", " style=", " onclick=", "javascript:"):
        assert inline not in answer.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_accessible(browser: Browser, desk: httpx.Client, path: str, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{desk.base_url}{path}")
    check_accessible(page)
    context.close()


@pytest.mark.parametrize(("width", "scale"), [(360, 1.0), (640, 2.0)], ids=["a phone", "zoom 200%"])
@pytest.mark.parametrize("path", PATHS)
def test_a_page_fits_a_narrow_screen(
    browser: Browser, desk: httpx.Client, path: str, width: int, scale: float
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 640}, device_scale_factor=scale)
    page = context.new_page()
    page.goto(f"{desk.base_url}{path}")
    wide = page.evaluate("document.documentElement.scrollWidth")
    context.close()
    assert wide <= width


def test_the_first_page_is_small(page: Page, desk: httpx.Client) -> None:
    page.goto(f"{desk.base_url}/review")
    kinds = "['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))"
    sent = page.evaluate(f"{kinds}.reduce((sum, entry) => sum + entry.transferSize, 0)")
    assert 20_000 < sent < 250_000


def test_vendored_files_are_those_that_were_published() -> None:
    listed = json.loads((VENDOR / "vendored.json").read_text())
    files = {path.name for path in VENDOR.iterdir()} - {"vendored.json", "LICENCES.txt"}
    assert {one["file"] for one in listed} == files
    licences = (VENDOR / "LICENCES.txt").read_text()
    for one in listed:
        assert hashlib.sha256((VENDOR / one["file"]).read_bytes()).hexdigest() == one["sha256"], one["file"]
        assert f"==== {one['package']} ====" in licences


def test_files_are_kept_for_ever_and_only_those_that_are_there_are_served(desk: httpx.Client) -> None:
    style = desk.get("/review").text.split('rel="stylesheet" href="')[1].split('"')[0]
    found = desk.get(style)
    assert "immutable" in found.headers["cache-control"]
    assert found.headers["content-encoding"] == "gzip"
    assert desk.get(style, headers={"Accept-Encoding": "identity"}).text == found.text
    version = style.split("/")[2]
    for wrong in (
        "/static/0/pages.css",
        f"/static/{version}/../site.py",
        f"/static/{version}/%2e%2e/site.py",
    ):
        assert desk.get(wrong, follow_redirects=True).status_code == 404


def test_a_form_from_another_site_or_from_nowhere_is_refused(desk: httpx.Client) -> None:
    body = {"event_id": desk.get("/queue").json()["queue"][-1]["event_id"], "label": "normal"}
    assert desk.post("/review/verdict", data=body).status_code == 403
    foreign = {"Origin": "https://elsewhere.example"}
    assert desk.post("/review/verdict", data=body, headers=foreign).status_code == 403
    own = {"Origin": str(desk.base_url)}
    assert desk.post("/feedback", data=body, headers=own).status_code == 415
    assert desk.post("/review/verdict", data=body, headers=own).status_code == 303


@pytest.mark.parametrize("path", sorted(FORMS))
@pytest.mark.parametrize(
    "body", [b"%", b"label=%ff", b"\xff", b"a=1&a=2&event_id=1&event_id=2", b"", b"x" * 300_000]
)
def test_a_broken_form_is_a_page_that_names_the_mend(desk: httpx.Client, path: str, body: bytes) -> None:
    headers = {"Origin": str(desk.base_url), "Content-Type": "application/x-www-form-urlencoded"}
    answer = desk.post(path, content=body, headers=headers)
    desk.cookies.clear()  # an empty form signs in where no key is needed
    assert answer.status_code in (303, 400, 404, 409, 413, 422), answer.text
    assert answer.status_code == 303 or answer.headers["content-type"].startswith("text/html")


def test_the_pages_can_be_switched_off(tmp_path: Path, payments: Bundle) -> None:
    settings = Settings(home=home_with(tmp_path / "home", payments), pages=False)
    with serving(create_app(settings)) as client:
        assert client.get("/review").status_code == 404
        assert client.get("/").status_code == 404
        assert (
            client.post(
                "/review/verdict", data={"a": "b"}, headers={"Origin": str(client.base_url)}
            ).status_code
            == 415
        )


def test_a_service_whose_pages_nobody_opens_loads_no_templates() -> None:
    code = "import sys, nearnorm.service.app; sys.exit('jinja2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

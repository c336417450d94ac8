"""/docs: the HTTP interface by its own description, all from this host; each body is executed there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.settings import Settings
from tests.service.access.test_keys import made
from tests.service.pages.conftest import fill
from tests.service.running import home_with, serving

SWITCHED_OFF = [({"docs": False}, "/docs", "/review"), ({"pages": False}, "/review", "/docs")]
BODIES = {  # every operation that reads one, in an order in which each finds what it needs
    ("post", "/score"): 200,
    ("post", "/v2/models/{model_name}/infer"): 200,
    ("post", "/v2/models/{model_name}/versions/{model_version}/infer"): 200,
    ("post", "/feedback"): 201,
    ("post", "/feedback/groups"): 200,
    ("post", "/claims"): 200,
    ("post", "/claims/release"): 200,
    ("post", "/claims/skip"): 200,
    ("post", "/snoozes"): 200,
    ("post", "/aggregates"): 422,  # the starter counts nothing over windows
    ("put", "/policy"): 200,
    ("post", "/policy/undo"): 200,
    ("post", "/analysts/{name}/quarantine"): 200,
    ("post", "/jobs"): 202,
    ("post", "/models/{version}/activate"): 200,
    ("post", "/models/rollback"): 200,
    ("post", "/webhooks"): 201,
    ("post", "/webhooks/{webhook_id}/replay"): 200,
    ("post", "/forget"): 200,
    ("post", "/session"): 201,
}


@pytest.fixture
def desk(tmp_path: Path, payments: Bundle, other_bundle: Bundle) -> Iterator[httpx.Client]:
    """On loopback without keys, with a second version in the store."""
    home = home_with(tmp_path / "home", payments)
    ModelStore(home / "models").publish(other_bundle.path)
    with serving(create_app(Settings(home=home, audit_rate=1.0, reference_reviews=0))) as client:
        yield client


def executed(page: Page, method: str, path: str, parameters: dict[str, str], **changed: Any) -> int:
    """Press Execute under an operation; the status that is shown. `changed` are fields of the example."""
    block = page.locator(f'.opblock-{method}:has([data-path="{path}"])')
    summary = block.locator(".opblock-summary-control")
    summary.dispatch_event("click")  # a click of the mouse waits until the page has scrolled to it, slowly
    for name, value in parameters.items():
        block.locator(f'tr[data-param-name="{name}"] input').fill(value)
    if changed:
        body = block.locator("textarea.body-param__text")
        body.fill(json.dumps(json.loads(body.input_value()) | changed))
    with page.expect_response(lambda answer: answer.request.method == method.upper()) as answered:
        block.get_by_role("button", name="Execute").click()
    shown = block.locator(".live-responses-table tbody .response-col_status").first
    expect(shown).to_contain_text(str(answered.value.status))
    summary.dispatch_event("click")  # what is open is drawn anew with everything
    return answered.value.status


def test_every_documented_body_is_executed_as_it_stands_there(page: Page, desk: httpx.Client) -> None:
    events = fill(desk, 2)
    serves = desk.get("/readyz").json()["models"][0]["version"]
    versions = [model["version"] for model in desk.get("/models").json()["models"]]
    known = {"model_name": "default", "model_version": serves, "name": "anonymous"}
    known["version"] = next(version for version in versions if version != serves)
    ids: dict[str, dict[str, Any]] = {  # of an event that is there, in the place of the example's
        "/feedback/groups": {"event_ids": events},
        "/claims/skip": {"event_id": events[0]},
        "/snoozes": {"event_id": events[0]},
    }
    page.goto(f"{desk.base_url}/docs")
    found = {}
    for method, path in BODIES:
        if "{webhook_id}" in path:
            known["webhook_id"] = desk.get("/webhooks").json()["webhooks"][0]["webhook_id"]
        parameters = {name: value for name, value in known.items() if f"{{{name}}}" in path}
        found[method, path] = executed(page, method, path, parameters, **ids.get(path, {}))
    assert found == BODIES


def test_who_signs_in_there_writes_with_the_sessions_token(
    page: Page, desk: httpx.Client, tmp_path: Path
) -> None:
    ledger = Ledger.at(None, tmp_path / "home")
    migrate(ledger)
    secret = made(ledger, "boss", *keyring.ROLES)
    ledger.close()
    page.goto(f"{desk.base_url}/docs")
    assert executed(page, "put", "/policy", {}) == 401
    assert executed(page, "post", "/session", {}, key=secret) == 201
    assert executed(page, "put", "/policy", {}) == 200


def test_the_page_brings_no_script_along_and_asks_no_other_host(desk: httpx.Client) -> None:
    """The tab of the other tests fails for a request to another host, and for what the policy stops."""
    answer = desk.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    for inline in ("<script>", "<style", " style=", " onclick=", "javascript:", "https://"):
        assert inline not in answer.text


@pytest.mark.parametrize(("setting", "gone", "there"), SWITCHED_OFF)
def test_it_is_switched_off_apart_from_the_pages(
    tmp_path: Path, payments: Bundle, setting: dict[str, bool], gone: str, there: str
) -> None:
    home = home_with(tmp_path / "home", payments)
    with serving(create_app(Settings(home=home).model_copy(update=setting))) as client:
        assert client.get(gone).status_code == 404
        page = client.get(there)
        assert page.status_code == 200
        style = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
        assert client.get(style).status_code == 200

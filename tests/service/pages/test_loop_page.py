"""The loop in a browser: a job as it runs, what the gate went by, what became of labels, versions."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.asking import STRANGE, label, score, stored
from tests.service.bundles import make_bundle
from tests.service.pages.accessible import check_accessible
from tests.service.waiting import logged, until
from tests.service.working import opened, with_result

SOON = 20_000
"""ms: the page looks for a new job every few seconds."""
EVIDENCE: dict[str, Any] = {
    "ranks": {"champion": [90.0, 99.0, 99.5], "challenger": [99.9, 99.0, 98.0]},
    "judged_by": "cross-fitting",
    "depth": {"champion": 0.02, "challenger": 0.01, "deeper": -0.5, "allowed": 0.05, "finest": 0.01},
    "recall_at_budget": {"champion": 0.33, "challenger": 0.67},
    "average_precision": {
        "champion": 0.5,
        "challenger": 0.6,
        "difference": 0.1,
        "interval_90": [0.02, 0.18],
    },
    "traffic": {"rows": 1_000, "champion": 9, "challenger": 11},
    "budget": 0.01,
}


@pytest.fixture(scope="session")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """It judges differently."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "challenger", seed=6)


@pytest.fixture
def worker(desk: httpx.Client, tmp_path: Path) -> Iterator[Worker]:
    """Beside a service that scored some hundred records."""
    desk.put("/policy", json={"budget": "5%"}).raise_for_status()
    amounts = np.random.default_rng(0).normal(50, 40, 600).tolist()
    records = [{"amount": amount, "country": "DE", "channel": "web"} for amount in amounts]
    desk.post("/score", json={"records": records}).raise_for_status()
    until(lambda: logged(desk))
    yield from opened(Settings(home=tmp_path / "home"))


@pytest.fixture
def plain(browser: Browser, desk: httpx.Client) -> Iterator[Page]:
    """A tab without JavaScript."""
    with browser.new_context(java_script_enabled=False) as context:
        yield context.new_page()


def test_a_job_is_seen_to_begin_and_to_end_without_a_reload(
    page: Page, desk: httpx.Client, worker: Worker, challenger: Bundle
) -> None:
    page.goto(f"{desk.base_url}/loop")
    page.evaluate("window.here = true")
    expect(page.locator("#jobs")).to_contain_text("No job has run yet")
    job = with_result(worker, challenger, figures=EVIDENCE)
    title = page.locator("#job-title")
    expect(title).to_contain_text("running", timeout=SOON)
    expect(page.locator("#job progress")).to_be_visible()
    thread = threading.Thread(target=worker.work, args=(job,))
    thread.start()
    expect(title).to_contain_text("accepted, and put into service", timeout=SOON)
    expect(page.locator("#jobs tbody")).to_contain_text("accepted, and put into service", timeout=SOON)
    expect(page.locator("#versions")).to_contain_text(challenger.version[:12])
    thread.join()
    assert page.evaluate("window.here")


def test_what_the_gate_went_by_is_drawn_and_said(
    plain: Page, desk: httpx.Client, worker: Worker, challenger: Bundle
) -> None:
    job = with_result(worker, challenger, accepted=False, figures=EVIDENCE)
    worker.work(job)
    plain.goto(f"{desk.base_url}/loop")
    shown = plain.locator("#job")
    expect(shown).to_contain_text("refused, today's model stays")
    expect(shown).to_contain_text("because")
    expect(shown.locator(".ranks .higher")).to_have_count(1)
    expect(shown.locator(".ranks .lower")).to_have_count(1)
    expect(shown.locator(".ranks .same")).to_have_count(1)
    expect(shown.get_by_role("img", name="1 higher in the new one, 1 lower, 1 the same")).to_be_visible()
    expect(shown).to_contain_text("Above a typical one lies 1% or less of all traffic; by today's model 2%.")
    expect(shown.locator(".bars")).to_contain_text("1.1%")
    flips = desk.get(f"/jobs/{job.job_id}/flips", params={"limit": 100}).json()
    links = shown.locator("a[href*='event=']")
    assert flips["flips"][0]["event_id"] in str(links.first.get_attribute("href"))
    expect(links).to_have_count(min(20, flips["flipped"]))
    links.first.click()
    card = plain.locator(".card:not([hidden])").first
    expect(card).to_have_attribute("data-event", flips["flips"][0]["event_id"])


@pytest.mark.parametrize("width", [360, 1200])
def test_a_job_and_its_pictures_are_accessible(
    page: Page, desk: httpx.Client, worker: Worker, challenger: Bundle, width: int
) -> None:
    worker.work(with_result(worker, challenger, figures=EVIDENCE))
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{desk.base_url}/loop")
    expect(page.locator(".ranks")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    check_accessible(page)


def test_the_job_that_runs_is_shown_before_one_that_waits(
    plain: Page, desk: httpx.Client, worker: Worker, challenger: Bundle
) -> None:
    job = with_result(worker, challenger)
    assert desk.post("/jobs").json()["job_id"] != job.job_id
    plain.goto(f"{desk.base_url}/loop")
    expect(plain.locator("#job-title")).to_contain_text("running")


def test_what_became_of_labels_is_told_to_who_gave_them(plain: Page, desk: httpx.Client) -> None:
    for amount in range(12):
        event = score(desk, STRANGE | {"amount": 900.0 + amount}, f"tx-{amount}")["event_id"]
        stored(label(desk, {"event_id": event, "label": "anomaly"}))
    plain.goto(f"{desk.base_url}/loop")
    rows = plain.locator("#receipts tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.first).to_contain_text("tx-11")
    expect(rows.first).to_contain_text("waits for the next retraining")
    expect(plain.locator("#standing")).to_contain_text("12 of 20 new verdicts")
    plain.get_by_role("link", name="Older ones").click()
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("tx-0")


def test_without_a_script_a_job_is_asked_for_and_cancelled(plain: Page, desk: httpx.Client) -> None:
    plain.goto(f"{desk.base_url}/loop")
    plain.get_by_role("button", name="Retrain now").click()
    expect(plain.locator("#job-title")).to_contain_text("waiting")
    expect(plain.locator("#job")).to_contain_text("a worker")
    plain.get_by_role("button", name="Cancel").click()
    expect(plain.locator("#job-title")).to_contain_text("cancelled")
    (job,) = desk.get("/jobs").json()["jobs"]
    assert job["cancelled_by"] == "anonymous"


def test_a_version_is_put_into_service_and_taken_out_with_a_reason(
    plain: Page, desk: httpx.Client, challenger: Bundle, tmp_path: Path
) -> None:
    ModelStore(tmp_path / "home" / "models").publish(challenger.path)
    plain.goto(f"{desk.base_url}/loop")
    row = plain.locator("#versions tr", has_text=challenger.version[:12])
    row.get_by_label("Reason").fill("it finds more")
    row.get_by_role("button", name="Activate").click()
    expect(row).to_contain_text("serves")
    expect(row).to_contain_text("it finds more")
    plain.get_by_label(re.compile("Reason to go back")).fill("<b>too many</b> alerts")
    plain.get_by_role("button", name="Roll back").click()
    expect(plain.locator("#versions")).to_contain_text("<b>too many</b> alerts")
    expect(row).not_to_contain_text("serves")
    actions = [(e["action"], e["detail"]["reason"]) for e in desk.get("/audit").json()["audit"]]
    assert actions == [("rollback", "<b>too many</b> alerts"), ("activate", "it finds more")]


def test_a_reason_is_needed(desk: httpx.Client) -> None:
    origin = {"Origin": str(desk.base_url)}
    for reason in ({"model": "default"}, {"reason": " "}):
        answer = desk.post("/loop/rollback", data=reason, headers=origin)
        assert answer.status_code == 422
        assert "reason" in answer.text


def test_who_does_not_operate_sees_the_loop_and_changes_nothing(
    desk: httpx.Client, tmp_path: Path, browser: Browser
) -> None:
    ledger = Ledger.at(None, tmp_path / "home")
    with ledger.write() as connection:
        secret = keyring.create(connection, "mei", ["feedback"], "test")[0]
    ledger.close()
    until(lambda: desk.get("/jobs").status_code == 401)
    headers = {"Authorization": f"Bearer {secret}"}
    for path in ("/loop", "/budget"):
        text = desk.get(path, headers=headers).text
        assert 'method="post"' not in text or path == "/budget"
        assert "Retrain now" not in text
        assert ">Save<" not in text
    for path in ("/loop/retrain", "/loop/cancel", "/loop/activate", "/loop/rollback", "/budget/save"):
        data = {"job": "x", "reason": "y", "version": "z", "budget": "1%"}
        answer = desk.post(path, data=data, headers=headers | {"Origin": str(desk.base_url)})
        assert answer.status_code == 403, path

"""The loop closes before one's eyes: a verdict by key, a retraining by a real worker, a model, and back."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from nearnorm import Client
from nearnorm.client.answers import LabelItem
from tests.journey.loop import logged, running, serves
from tests.journey.test_loop_journey import records
from tests.service.running import home_with
from tests.service.waiting import until
from tests.training.conftest import PAYMENTS, train

LONG = 300_000  # ms: a training on a busy machine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("closing")
    return home_with(folder / "home", train(folder / "payments", PAYMENTS))


def test_a_verdict_by_key_makes_a_model_that_serves_and_is_rolled_back(home: Path, browser: Browser) -> None:
    settings = {"audit_rate": "1.0", "retrain_after": "20", "reference_reviews": "0"}
    with running(home, **settings) as url, Client(url) as client:
        page = browser.new_page()
        bad, good = records(1, 12), records(0, 8)
        scored = client.score(bad + good)
        until(lambda: logged(client))
        labels = [
            LabelItem(event_id=one["event_id"], label="anomaly" if place < len(bad) else "normal")
            for place, one in enumerate(scored)
        ]
        client.label(labels[1:])

        page.goto(f"{url}/review?event={labels[0]['event_id']}")
        with page.expect_response("**/feedback") as stored:
            page.keyboard.press("a")
        job_id = stored.value.json()["retraining"]["job_id"]
        page.goto(f"{url}/loop")
        page.evaluate("window.here = true")
        title = page.locator("#job-title")
        expect(page.locator("#job [role=status]")).to_contain_text("training", timeout=LONG)
        expect(title).to_contain_text("accepted, and put into service", timeout=LONG)
        assert page.evaluate("window.here"), "the page was loaded again"
        job = client.job(job_id)
        expect(page.locator("#job .ranks")).to_be_visible()
        expect(page.locator("#receipts tbody tr").first).to_contain_text("learnt", timeout=20_000)
        after = page.locator("#versions tr", has_text=job["version"][:12])
        expect(after).to_contain_text("serves", timeout=20_000)
        expect(after).to_contain_text("a retraining")

        page.get_by_label("Reason to go back").fill("to see that it can be undone")
        page.get_by_role("button", name="Roll back").click()
        before = page.locator("#versions tr", has_text=job["champion"][:12])
        expect(before).to_contain_text("serves")
        expect(before).to_contain_text("to see that it can be undone")
        assert serves(client, job["champion"])

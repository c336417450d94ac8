"""What the pages cost, and how fast they are.

    python -m tests.benchmarks.cost.bench_pages volume  # over 1,000,000 events, 10,000 labels (chromium)
    python -m tests.benchmarks.cost.bench_pages beside  # /score beside ten review sessions (wrk)
    python -m tests.benchmarks.cost.bench_pages memory  # a service before and after its page is opened

`volume`: milliseconds of GET /review, of fifty verdicts in one request, of one on a group of fifty, of
previews and of the page of groups, as a client waits for them; and in a browser from the key to the next
record being on the screen. `beside`: requests a second of lone records at 64 connections, with and without
ten people who judge a record every five seconds, by turns. `memory`: MB resident.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import Page, sync_playwright

from nearnorm.service.pages.review import AT_HAND
from tests.benchmarks.cost.bench_ledger import Served, fill, served
from tests.load.wrk import Load, run_wrk, write_script

PACE = 5.0
REFILLED = 5  # records that a page judges before it fetches more
CSRF = "X-CSRF-Token"
KEY_TO_RECORD = """() => new Promise((resolve) => {
  const before = document.querySelector(".card:not([hidden])").dataset.event;
  const started = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "n", bubbles: true}));
  requestAnimationFrame(function look() {
    const now = document.querySelector(".card:not([hidden])");
    const isNext = now && now.dataset.event !== before;
    requestAnimationFrame(isNext ? () => resolve(performance.now() - started) : look);
  });
})"""
"""Until the frame after the one that shows the next record."""


def volume(count: int, labelled: int, asks: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {"NEARNORM_HOME": folder, "NEARNORM_RETRAIN_AFTER": "1000000"}
        fill(environment, count, labelled)
        with (
            served("serve", environment) as service,
            httpx.Client(base_url=service.url, timeout=60) as client,
        ):
            found: dict[str, Any] = {"GET /review": _times(lambda: client.get("/review"), asks)}
            found["50 verdicts"] = _times(lambda: _fifty(client), 20)
            found["a verdict on 50"] = _times(lambda: _group(client), 20)
            found["its preview"] = _times(lambda: _group(client, preview=True), 20)
            found["what one verdict will do"] = _times(lambda: _effects(client), asks)
            found["first GET /groups"] = _times(lambda: client.get("/groups"), 1)
            found["GET /groups"] = _times(lambda: client.get("/groups"), 20)
            with _tab(service.url) as page:
                keys = [_key_to_record(page) for _ in range(asks)]
            return found | {"key to next record": _percentiles(keys)}


def _client(service: Served) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=60)


def _key_to_record(page: Page) -> float:
    """Milliseconds, with two records at hand at least."""
    page.locator(".card").nth(1).wait_for(state="attached")
    return float(page.evaluate(KEY_TO_RECORD))


def _fifty(client: httpx.Client) -> httpx.Response:
    items = client.get("/queue", params={"limit": 50}).json()["queue"]
    labels = [{"event_id": item["event_id"], "label": "normal", "analyst": "ann"} for item in items]
    started = time.perf_counter()
    answer = client.post("/feedback", json={"labels": labels})
    answer.extensions["seconds"] = time.perf_counter() - started
    return answer


def _group(client: httpx.Client, **more: object) -> httpx.Response:
    items = client.get("/queue", params={"limit": 50}).json()["queue"]
    body = {"event_ids": [item["event_id"] for item in items], "label": "normal", "analyst": "ann", **more}
    started = time.perf_counter()
    answer = client.post("/feedback/groups", json=body)
    answer.extensions["seconds"] = time.perf_counter() - started
    return answer


def _effects(client: httpx.Client) -> httpx.Response:
    event = client.get("/queue", params={"limit": 1}).json()["queue"][0]["event_id"]
    started = time.perf_counter()
    answer = client.get("/review/effects/part", params={"event": event})
    answer.extensions["seconds"] = time.perf_counter() - started
    return answer


def _times(ask: Callable[[], httpx.Response], asks: int) -> dict[str, float]:
    taken = []
    for _ in range(asks):
        started = time.perf_counter()
        answer = ask()
        assert answer.status_code < 300, answer.text
        taken.append(1000 * answer.extensions.get("seconds", time.perf_counter() - started))
    return _percentiles(taken)


def _percentiles(milliseconds: list[float]) -> dict[str, float]:
    return {name: round(float(np.percentile(milliseconds, q)), 1) for name, q in (("p50", 50), ("p99", 99))}


@contextlib.contextmanager
def _tab(url: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=quiet)
        page = browser.new_page()
        page.goto(f"{url}/review")
        yield page
        browser.close()


def beside(rounds: int, seconds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {"NEARNORM_HOME": folder, "NEARNORM_THREADS": "1"}
        sample = fill(environment, 20_000, 100)
        body = json.dumps({"records": [sample]}).encode()
        load = Load("one", 64, 1, "/score", "application/json", [body])
        script = write_script(load, Path(folder))
        with served("serve", environment) as service:
            port, ratios = int(service.url.rpartition(":")[2]), []
            for turn in range(rounds):
                rates = {}
                for sessions in (10, 0) if turn % 2 else (0, 10):
                    with _reviewing(service, sessions):
                        rates[sessions] = run_wrk(load, script, port, seconds).rate
                ratios.append(round(rates[10] / rates[0], 3))
    return {"ratio": statistics.median(ratios), "ratios": ratios}


@contextlib.contextmanager
def _reviewing(service: Served, sessions: int) -> Iterator[None]:
    """So many people with the page open, who judge a record every PACE seconds: what their page asks then."""
    over = threading.Event()

    def review(name: str) -> None:
        with _client(service) as client:
            client.post("/session", json={"analyst": name}).raise_for_status()
            token = client.get("/session").json()["csrf"]
            client.get("/review").raise_for_status()
            judged = 0
            while not over.wait(PACE):
                if judged % REFILLED == 0:
                    answer = client.post("/claims", json={"limit": AT_HAND}, headers={CSRF: token})
                    held = answer.json()["claims"]
                    client.get("/review/more").raise_for_status()
                event = held[judged % REFILLED]["event_id"]
                for part in ("about", "effects/part"):
                    client.get(f"/review/{part}", params={"event": event}).raise_for_status()
                said = {"labels": [{"event_id": event, "label": "normal"}]}
                client.post("/feedback", json=said, headers={CSRF: token}).raise_for_status()
                judged += 1

    people = [threading.Thread(target=review, args=(f"analyst {i}",)) for i in range(sessions)]
    for one in people:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in people:
            one.join()


def memory() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {"NEARNORM_HOME": folder}
        fill(environment, 1_000, 10)
        with (
            served("serve", environment) as service,
            httpx.Client(base_url=service.url, timeout=60) as client,
        ):
            client.get("/queue")
            closed = _resident(service.pid)
            for _ in range(100):
                client.get("/review").raise_for_status()
            return {"closed": closed, "opened": _resident(service.pid)}


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("volume", "beside", "memory"))
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--asks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=5)
    given = parser.parse_args()
    if given.what == "volume":
        found = volume(given.events, given.labels, given.asks)
    else:
        found = memory() if given.what == "memory" else beside(given.rounds, given.seconds)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

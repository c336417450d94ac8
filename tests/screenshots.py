"""Pictures of every page for docs/review.md, light and dark, of a service that has something to show.

    python -m tests.screenshots

The starter model scores rows that it never saw, an analyst judges some, a retraining runs, and Debian's
chromium opens the pages.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import pyarrow.parquet as pq
from playwright.sync_api import FloatRect, sync_playwright

from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.pages.frame.views import VIEWS
from nearnorm.service.verdict.traffic import score_bins
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "images" / "pages"
ROWS = ROOT / "training" / "samples" / "shuttle_held_out.parquet"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCORED, JUDGED, JUDGED_THEN = 4_000, 24, 18
TALLEST = 1_500
SECONDS = 300


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with _service() as (url, home), sync_playwright() as playwright:
        _use(url)
        _remember(home)
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        for scheme in SCHEMES:
            context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 860})
            page = context.new_page()
            for view in VIEWS:
                page.goto(f"{url}{view.path}", wait_until="load")
                page.wait_for_timeout(1_000)
                picture = PICTURES / f"{view.path.strip('/')}-{scheme}.png"
                height = page.evaluate("document.documentElement.scrollHeight")
                if view.path == "/review":  # its buttons stay at the window's edge
                    page.screenshot(path=picture)
                else:
                    clip = FloatRect(x=0, y=0, width=1280, height=min(height, TALLEST))
                    page.screenshot(path=picture, full_page=True, clip=clip)
                print(picture.relative_to(ROOT))
            context.close()
        browser.close()


@contextlib.contextmanager
def _service() -> Iterator[tuple[str, Path]]:
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        environment = {"NEARNORM_HOME": home, "NEARNORM_PORT": str(port), "NEARNORM_REFERENCE_REVIEWS": "0"}
        process = subprocess.Popen(
            [sys.executable, "-m", "nearnorm", "serve"],
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _until(lambda: httpx.get(f"{url}/readyz", timeout=60).status_code == 200)
            yield url, Path(home)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _use(url: str) -> None:
    """Score, judge by the labels of the set, let a retraining run to its end, and judge what it scored."""
    table = pq.read_table(ROWS)
    truth = [label == 1 for label in table.column("label").to_pylist()]
    records = table.drop_columns(["label"]).to_pylist()
    with httpx.Client(base_url=url, timeout=60) as client:
        _score(client, records, 0)
        _judge(client, truth, JUDGED, 0)
        _until(lambda: client.get("/jobs").json()["jobs"][0]["state"] not in ("queued", "running"))
        version = client.get("/jobs").json()["jobs"][0].get("version")
        _until(lambda: client.get("/readyz").json()["models"][0]["version"] == version)
        _score(client, records, SCORED)
        _judge(client, truth, JUDGED_THEN, SCORED)


def _score(client: httpx.Client, records: Sequence[dict[str, Any]], first: int) -> None:
    for start in range(first, first + SCORED, 1_000):
        part = records[start : start + 1_000]
        ids = [f"reading-{start + place}" for place in range(len(part))]
        client.post("/score", json={"records": part, "ids": ids}).raise_for_status()


def _judge(client: httpx.Client, truth: Sequence[bool], count: int, first: int) -> None:
    """The strangest of the rows from the `first` on."""

    def offered() -> list[dict[str, Any]]:
        queue = client.get("/queue?limit=200").json()["queue"]
        return [item for item in queue if int(item["id"].rpartition("-")[2]) >= first]

    _until(lambda: len(offered()) >= 2 * count)
    labels = []
    for item in offered()[:count]:
        said = "anomaly" if truth[int(item["id"].rpartition("-")[2])] else "normal"
        labels.append({"event_id": item["event_id"], "label": said})
    client.post("/feedback", json={"labels": labels}).raise_for_status()


def _remember(home: Path) -> None:
    """Nine days of traffic like the reference, with a few high scores: what budgets are solved by."""
    store = ModelStore(home / "models")
    champion = store.champion()
    if champion is None:
        raise SystemExit("nothing serves")
    reference = store.open(champion.version).manifest.core.reference.scores
    chance, now = np.random.default_rng(0), now_ms() // 3_600_000
    hours = []
    for back in range(1, 9 * 24):
        usual = chance.choice(np.asarray(reference, np.float32), 794)
        bins = score_bins.count(np.append(usual, chance.uniform(0.3, 1.0, 6).astype(np.float32)))
        sketch = {int(place): float(bins[place]) for place in np.flatnonzero(bins)}
        hours.append(Counted("default", now - back, champion.version, "app", 800, 8, 0, 0, 0, sketch))
    ledger = Ledger.at(None, home)
    with ledger.write() as connection:
        traffic.put(connection, "screenshots", hours)
    ledger.close()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError, IndexError):
            if holds():
                return
        time.sleep(0.2)
    raise SystemExit("the service did not come so far in time")


if __name__ == "__main__":
    main()

"""Pictures of every page for docs/review.md, light and dark, of a service that has something to show.

    python -m tests.screenshots

The starter model scores rows that it never saw, an analyst judges some, a retraining runs, and Debian's
chromium opens the pages.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import httpx
import pyarrow.parquet as pq
from playwright.sync_api import sync_playwright

from nearnorm.service.pages.views import VIEWS

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "images" / "pages"
ROWS = ROOT / "training" / "samples" / "shuttle_held_out.parquet"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCORED, JUDGED = 4_000, 24
SECONDS = 300


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with _service() as url, sync_playwright() as playwright:
        _use(url)
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        for scheme in SCHEMES:
            context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 860})
            page = context.new_page()
            for view in VIEWS:
                page.goto(f"{url}{view.path}", wait_until="load")
                page.wait_for_timeout(1_000)
                picture = PICTURES / f"{view.path.strip('/')}-{scheme}.png"
                page.screenshot(path=picture)
                print(picture.relative_to(ROOT))
            context.close()
        browser.close()


@contextlib.contextmanager
def _service() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
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
            _until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _use(url: str) -> None:
    """Score, judge by the labels of the set, and let a retraining run to its end."""
    table = pq.read_table(ROWS).slice(0, SCORED)
    truth = table.column("label").to_pylist()
    with httpx.Client(base_url=url, timeout=60) as client:
        records = table.drop_columns(["label"]).to_pylist()
        for start in range(0, len(records), 1_000):
            part = records[start : start + 1_000]
            ids = [f"reading-{start + place}" for place in range(len(part))]
            client.post("/score", json={"records": part, "ids": ids}).raise_for_status()
        _until(lambda: len(client.get("/queue?limit=60").json()["queue"]) == 60)
        labels = []
        for item in client.get(f"/queue?limit={JUDGED}").json()["queue"]:
            is_bad = truth[int(item["id"].rpartition("-")[2])] == 1
            said = "anomaly" if is_bad else "normal"
            labels.append({"event_id": item["event_id"], "label": said})
        client.post("/feedback", json={"labels": labels}).raise_for_status()
        _until(lambda: client.get("/jobs").json()["jobs"][0]["state"] not in ("queued", "running"))


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

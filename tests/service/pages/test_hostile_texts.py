"""What others wrote is shown as text: by the letter, on its own lines."""

from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.jobs import jobs
from nearnorm.service.pages.frame.words import text
from tests.service.pages.conftest import fill


@pytest.mark.parametrize("unseen", ["\u202e", "\u200b", "\u3164", "\u115f", "\u2800", "\u034f", "\U000e0101"])
def test_what_nobody_sees_is_shown_by_its_number(unseen: str) -> None:
    assert text(f"tx-1{unseen}") == f"tx-1[U+{ord(unseen):04X}]"


def test_marks_piled_on_a_letter_are_not_drawn_over_the_lines_around_it() -> None:
    assert text("Z" + "\u0300" * 6) == "Z" + "\u0300" * 4 + "[U+0300]" * 2
    assert text("ภู่ é ṩ नमस्ते") == "ภู่ é ṩ नमस्ते"


def test_a_jobs_log_keeps_its_lines_and_a_comment_has_one(desk: httpx.Client, tmp_path: Path) -> None:
    job_id = desk.post("/jobs", json={}).json()["job_id"]
    ledger = Ledger.at(None, tmp_path / "home")
    with ledger.write() as connection:
        connection.execute(
            sa.update(jobs).values(log="epoch 1\nepoch 2 \u202e\n" + "x" * 3_000 + "\nthe end")
        )
    ledger.close()
    page = desk.get(f"/loop?job={job_id}").text
    assert "<pre>epoch 1\nepoch 2 [U+202E]\nxxx" in page
    assert "\nthe end\n</pre>" in page
    (event, *_) = fill(desk, 1)
    said = {"event_id": event, "label": "anomaly", "comment": "on paper\r\n\tas it says"}
    desk.post("/feedback", json={"labels": [said]}).raise_for_status()
    assert ": on paper as it says<" in desk.get("/review/about", params={"event": event}).text

"""A machine is lost: backups are taken and killed under load, and from a whole one the loop goes on."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from nearnorm import Client
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.feedback.labels import labels
from tests.chaos.kills import NEARNORM, Load, Service, database_of
from tests.journey.loop import example_record
from tests.service.ledger.servers import programs_of_postgresql
from tests.service.waiting import until

AFTER = ("begun.json", "ledger")
"""Once this file is there the backup is killed."""


def nearnorm(home: Path, url: str | None, *words: str | Path) -> subprocess.Popen[str]:
    path = f"{programs_of_postgresql()}{os.pathsep}{os.environ['PATH']}"
    place = {"NEARNORM_HOME": str(home), "PATH": path} | ({"NEARNORM_DATABASE_URL": url} if url else {})
    return subprocess.Popen(
        [NEARNORM, *words], env=os.environ | place, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def under_load(service: Service) -> Load:
    with Client(service.url) as client:
        load = Load(service.url, example_record(client))
    load.start()
    return load


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_lost_machines_loop_goes_on_from_a_backup_and_never_from_half_of_one(
    database: str, tmp_path: Path
) -> None:
    home, new = tmp_path / "home", tmp_path / "new"
    home.mkdir()
    with contextlib.ExitStack() as stack:
        url, new_url = (stack.enter_context(database_of(database)) for _ in range(2))
        service = Service(home, url)
        service.start()
        stack.callback(service.close)
        load = under_load(service)
        try:
            for file in AFTER:
                place = tmp_path / f"killed-after-{file}"
                backup = nearnorm(home, url, "backup", place)
                while not (place / file).exists() and backup.poll() is None:
                    time.sleep(0.002)
                backup.send_signal(signal.SIGKILL)
                ended(backup)
                if (place / "backup.json").exists():
                    continue  # it was quicker
                code, told = ended(nearnorm(new, new_url, "restore", place))
                assert (code, "holds an unfinished backup, " in told) == (2, True), told
            until(lambda: len(load.acknowledged) > 20, 60)
            acknowledged = {id_ for ids in list(load.acknowledged.values()) for id_ in ids}
            assert ended(nearnorm(home, url, "backup", tmp_path / "whole"))[0] == 0
        finally:
            load.stop()
        assert load.answers[201] > 20
        served = httpx.get(f"{service.url}/readyz").json()["models"]
        service.kill()
        shutil.rmtree(home)  # and its database is asked no more

        shutil.rmtree(new, ignore_errors=True)
        code, told = ended(nearnorm(new, new_url, "restore", tmp_path / "whole"))
        assert code == 0, told
        ledger = Ledger.at(new_url, new)
        with ledger.read() as connection:
            rows = connection.execute(sa.select(labels.c.feedback_id, labels.c.comment)).all()
        ledger.close()
        assert acknowledged <= {row.feedback_id for row in rows}
        assert max(Counter(row.comment for row in rows).values()) == 1, "none is there twice"

        service = Service(new, new_url)
        service.start()
        stack.callback(service.close)
        with httpx.Client(base_url=service.url, timeout=30) as client:
            assert client.get("/readyz").json()["models"] == served
            assert client.get("/queue").json()["queue"]
            one = next(iter(acknowledged))
            assert client.get(f"/feedback/{one}").json()["feedback_id"] == one
            load = under_load(service)
            until(lambda: load.answers[201] > 3, 60)
            load.stop()
            assert client.post("/jobs").is_success

"""`nearnorm` as a user runs it: commands, keys, and a service in a process of its own."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from nearnorm import Client

COMMAND = (sys.executable, "-P", "-m", "nearnorm")
STARTS_WITHIN = 120.0  # seconds


def nearnorm(home: Path, *words: str | Path) -> str:
    """What a command prints, with its state in `home`. Raises SystemExit with what it says where it fails."""
    done = subprocess.run(  # noqa: S603 - our own command
        [*COMMAND, *map(str, words)],
        env=os.environ | {"NEARNORM_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"nearnorm {words[0]}: {done.stderr}")
    return done.stdout


def key(home: Path, name: str, *roles: str) -> str:
    """A new API key's secret."""
    words = [word for role in roles for word in ("--role", role)]
    return nearnorm(home, "keys", "create", name, *words).split()[-1]


def serve_model(home: Path, bundle: Path) -> None:
    """Put a bundle into the model store, as what is served."""
    version = nearnorm(home, "models", "import", bundle).split()[-1]
    nearnorm(home, "models", "activate", version)


def scores_of(home: Path, bundle: Path, rows: pd.DataFrame) -> np.ndarray:
    """[N] scores of rows by a bundle, whichever is served."""
    with tempfile.TemporaryDirectory() as folder:
        data, scores = Path(folder) / "rows.csv", Path(folder) / "scores.csv"
        rows.to_csv(data, index=False)
        nearnorm(home, "score", bundle, data, "--out", scores)
        return np.asarray(pd.read_csv(scores)["score"])


def retrained(operator: Client) -> str:
    """Retrain with all that was said so far, wait, and tell how it ended, in the service's words."""
    job = operator.wait(operator.retrain()["job_id"])
    while job.get("activated") and operator.ready()["models"][0]["version"] != job["version"]:
        time.sleep(0.2)
    return f"a retraining {job['state']}: {job['reasons'][0]}"


@contextlib.contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of a `nearnorm serve`, with its worker beside it, on a free port, until the block ends.

    Raises SystemExit where it does not start."""
    settings = {
        "NEARNORM_HOME": str(home),
        "NEARNORM_PORT": "0",
        "NEARNORM_RETRAIN_AFTER": "1000000",  # the story asks for its jobs, so that each has a round's labels
    }
    log = home / "service.log"
    with log.open("wb") as written:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*COMMAND, "serve"], env=os.environ | settings, stdout=written, stderr=written
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where it serves, as its log tells."""
    end = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < end:
        if told := re.search(r'{"url": "([^"]+)", "event": "serving"', log.read_text()):
            return told[1]
        time.sleep(0.1)
    raise SystemExit(f"nearnorm serve did not start: {log} tells why")

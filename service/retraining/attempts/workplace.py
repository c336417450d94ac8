"""Where a worker works: its home's settings, ledger and store, its name and keys, and its lease of a job."""

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from nearnorm.models.bundle.signature import SigningKey
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.places import NamedPlaces
from nearnorm.service.retraining.attempts.training_process import Cancelled
from nearnorm.service.retraining.jobs import turns
from nearnorm.service.retraining.jobs.requests import RELEASE
from nearnorm.service.settings import Settings

POLL = 0.5  # seconds between looks at the ledger: how soon a job starts and a cancellation is seen
LEASE = 10_000  # ms that a worker may be silent before its job is taken from it
GREET = 5.0  # seconds
FORGOTTEN = 24 * 3600 * 1000  # ms


class Lost(Exception):
    """The job is another worker's now."""


class Stopped(Exception):
    """The worker was told to stop: another one takes the job up."""


class Workplace:
    """Of one worker of one home."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError where a key to sign with or to trust cannot be read."""
        self.settings = settings
        home = str(settings.home.absolute())
        self.name = turns.name_of(socket.gethostname(), home, os.getpid(), new_id()[-6:])
        self.ledger = Ledger.at(settings.database_url, settings.home)
        self.store = settings.open_store()
        self.places = NamedPlaces(settings)
        self.key = SigningKey(settings.signing_key) if settings.signing_key else None
        self.trusted = settings.read_trusted_keys()
        self.stop = threading.Event()
        self._greeted = -GREET

    def greet(self) -> None:
        """Tell in the ledger, now and then, that this worker is there. Raises LedgerUnavailable."""
        if time.monotonic() - self._greeted >= GREET:
            now = now_ms()
            with self.ledger.write() as connection:
                jobs.greet(connection, self.name, RELEASE, now, now - FORGOTTEN)
            self._greeted = time.monotonic()

    def folder_of(self, job: Job) -> Path:
        return self.settings.home.absolute() / "jobs" / job.job_id

    def renew(self, job: Job, **changes: Any) -> Job:  # noqa: ANN401
        """Renew the lease of a job, tell how far it is, and greet. Raises Lost, Cancelled, Stopped."""
        if self.stop.is_set():
            raise Stopped
        self.greet()
        with self.ledger.write() as connection:
            now = jobs.renew(connection, job.job_id, self.name, now_ms() + LEASE, **changes)
        if now is None:
            raise Lost
        if now.cancelled_by is not None:
            raise Cancelled
        return now

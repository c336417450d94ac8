"""A PostgreSQL connection that never waits for ever: not for a lock, and not for a network that is silent.

A proxy that swallows bytes keeps the socket open, so that neither TCP's nor the server's time limits
are of help: the client has to look at its own clock.
"""

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

RV = TypeVar("RV")


class Patient(psycopg.Connection[Any]):
    """Every exchange with the server ends within `patience` seconds."""

    patience = 6.0

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        return super().wait(self._bounded(gen), interval=interval)

    def _bounded(self, gen: PQGen[RV]) -> PQGen[RV]:
        deadline = time.monotonic() + self.patience
        try:
            want = next(gen)
            while True:
                ready = yield want
                if time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer from PostgreSQL in {self.patience:.0f} s")
                want = gen.send(ready)
        except StopIteration as done:
            result: RV = done.value
            return result


def connect(dsn: str, patience: float) -> Patient:
    """Open a connection. Statements and locks end by the server's clock after `patience` seconds."""
    connection = Patient.connect(
        dsn, connect_timeout=max(2, int(patience)), application_name="nearnorm", autocommit=True
    )
    connection.patience = patience + 1
    try:
        _set_up(connection, patience)
    except BaseException:
        connection.close()  # nobody else could
        raise
    return connection


def _set_up(connection: Patient, patience: float) -> None:
    limits = {
        "statement_timeout": patience,
        "lock_timeout": patience,
        # a process that was stopped lets go of its locks; one that is short of CPU finishes what it began
        "idle_in_transaction_session_timeout": 3 * patience,
    }
    for name, seconds in limits.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, str(int(seconds * 1000))))
    # An acknowledged label is on disk, whatever the server's default.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.autocommit = False

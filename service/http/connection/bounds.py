"""Limits of a server's connections: how many, how large a head, how long in one stage."""

import os
import resource

from msgspec import Struct

from nearnorm.service.http.connection.watch import Stage
from nearnorm.service.logs import log
from nearnorm.service.settings import Settings

RESERVED = 64
"""Connections beyond the bound that are still answered while all others are at work: /healthz and /readyz,
and a 429 for the rest."""
BACKLOG = 2048
"""Connections that the kernel completes before the service takes them; it takes all that wait at once."""
_OTHER_FILES = 128  # the store, the ledger, the log, what connects to a database
_FEWEST_FILES = 28  # of them, what a service on SQLite opens after its start


class Bounds(Struct, frozen=True):
    """`patience`: seconds in one stage, after which a connection is closed."""

    connections: int
    reserved: int
    backlog: int
    headers: int
    header_bytes: int
    patience: dict[Stage, float]

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        connections, reserved, backlog = _by_files(settings.max_connections)
        return cls(
            connections=connections,
            reserved=reserved,
            backlog=backlog,
            headers=settings.max_headers,
            header_bytes=settings.max_header_bytes,
            patience={
                Stage.SILENT: settings.idle_seconds,
                Stage.IDLE: settings.idle_seconds,
                Stage.HEAD: settings.receive_seconds,
                Stage.BODY: settings.receive_seconds,
                Stage.READING: settings.send_seconds,
            },
        )


def _by_files(wanted: int) -> tuple[int, int, int]:
    """Connections, those reserved and the backlog, as far as files may be open.

    The soft limit is raised where it is too low. Where the hard one is, half of the files that are left are
    for connections, and a burst may take the rest: what comes beyond it would be reset, whoever sent it.
    """
    needed = wanted + RESERVED + BACKLOG + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted, RESERVED, BACKLOG
    others = min(_OTHER_FILES, max(_FEWEST_FILES, soft // 4))
    left = max(8, soft - len(os.listdir("/dev/fd")) - others)
    connections = min(wanted, max(2, left // 2))
    log.warning("few open files are allowed", files=soft, wanted=needed, connections=connections)
    return connections, max(1, min(RESERVED, left // 8)), max(2, min(BACKLOG, left // 4))

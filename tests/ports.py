"""Ports for processes that tests start: below those that the system gives out by itself.

A port that was free a moment ago may be somebody's by the time a process listens on it, above all while one
that was killed is started again. The system gives no connection and no port 0 one of these.
"""

import secrets
import socket
from contextlib import suppress

PORTS = range(15_000, 32_000)


def free_port() -> int:
    """One that nobody listens on."""
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port

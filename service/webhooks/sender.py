"""One POST to a destination: bounded in time and in what is read of the answer.

By http.client on a socket that was connected to a checked address: it follows no redirect, heeds no proxy of
the environment and keeps nothing, and the name goes into TLS and `Host` alone. A larger client would have
to be kept from resolving, redirecting and proxying for itself.
"""

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from functools import cached_property

from msgspec import Struct

from nearnorm.service.webhooks import destination as destinations
from nearnorm.service.webhooks.destination import Destination, RefusedDestination, Resolve

CONNECT_SECONDS = 5.0
SECONDS = 15.0
"""From the connection on to the last byte of the answer that is read."""
MOST_READ = 2_048
SHOWN = 200
"""Characters of an answer that are shown to an operator."""
GONE = 410


class Attempt(Struct, frozen=True):
    """What came of one POST. `problem` is None where it was taken. `retry_after` is in seconds."""

    status: int | None = None
    problem: str | None = None
    retry_after: float | None = None


class Sender:
    """`resolve` answers a name's addresses."""

    def __init__(self, resolve: Resolve = destinations.resolve) -> None:
        self._resolve = resolve

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """With the certificates of this machine, or those of SSL_CERT_FILE."""
        return ssl.create_default_context()

    def post(self, to: Destination, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """Never raises for what a receiver or the network does."""
        try:
            where = destinations.addresses(to, self._resolve)
        except RefusedDestination as error:
            return Attempt(problem=str(error))
        except (OSError, UnicodeError) as error:
            return Attempt(problem=f"the name {to.host} cannot be resolved: {_words(error)}")
        try:
            connected = _connected(where, to.port)
        except OSError as error:
            return Attempt(problem=f"no connection to {to.authority}: {_words(error)}")
        connected.settimeout(SECONDS)
        if to.is_https:
            connected = self._tls.wrap_socket(
                connected, server_hostname=to.host, do_handshake_on_connect=False
            )
        cut_off = threading.Event()
        watchdog = threading.Timer(SECONDS, _shut, (connected, cut_off))
        watchdog.daemon = True
        watchdog.start()
        try:
            if isinstance(connected, ssl.SSLSocket):
                connected.do_handshake()
            attempt = _exchange(connected, to, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            attempt = Attempt(problem=f"no answer of {to.authority}: {_words(error)}")
        finally:
            watchdog.cancel()
            connected.close()
        if cut_off.is_set():  # the head of an answer that ends too early may look whole
            return Attempt(problem=f"no answer of {to.authority} within {SECONDS:.0f} seconds")
        return attempt


def _exchange(connected: socket.socket, to: Destination, body: bytes, headers: Mapping[str, str]) -> Attempt:
    connection = http.client.HTTPConnection(to.host, to.port)
    connection.sock = connected
    connection.putrequest("POST", to.target, skip_host=True, skip_accept_encoding=True)
    sent = {
        "Host": to.authority,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": "nearnorm",
        "Connection": "close",
        **headers,
    }
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    with connection.getresponse() as answer:
        if 200 <= answer.status < 300:
            return Attempt(answer.status)
        excerpt = answer.read(MOST_READ).decode("utf-8", "replace")
        return Attempt(answer.status, _refusal(answer.status, excerpt), _retry_after(answer))


def _connected(where: list[str], port: int) -> socket.socket:
    """To the first address that answers. Raises the last one's OSError."""
    for address in where[:-1][:3]:
        try:
            return socket.create_connection((address, port), CONNECT_SECONDS)
        except OSError:
            continue
    return socket.create_connection((where[-1], port), CONNECT_SECONDS)


def _shut(connected: socket.socket, cut_off: threading.Event) -> None:
    """End an exchange that takes too long, however slowly its bytes drip in. Said before it is done: whoever
    waits for bytes goes on at once."""
    cut_off.set()
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # below TLS, whose own word could block
    except OSError:
        return


def _refusal(status: int, excerpt: str) -> str:
    if 300 <= status < 400:
        return f"it answered {status}, and redirects are not followed: give the address that it leads to"
    shown = "".join(c if c.isprintable() else " " for c in excerpt)[:SHOWN].strip()
    return f"it answered {status}" + (f": {shown}" if shown else "")


def _retry_after(answer: http.client.HTTPResponse) -> float | None:
    value = answer.getheader("Retry-After") or ""
    return float(value) if value.isascii() and value.isdigit() and len(value) < 8 else None


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:SHOWN] or type(error).__name__

"""The port, taken before anything is loaded."""

import socket

from nearnorm.models.errors import ConfigError


def listen(host: str, port: int, shared: bool = False) -> socket.socket:
    """A bound socket: a busy port is told before anything is loaded. Raises ConfigError.

    Sockets that are `shared` may be bound to the same port: the system spreads connections over them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {_with_port(host, port)}: {error.strerror or error}") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Where it listens; an IPv6 address in its brackets."""
    host, port = listener.getsockname()[:2]
    return f"http://{_with_port(host, port)}"


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

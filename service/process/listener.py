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
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener

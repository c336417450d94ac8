"""Destinations: https to addresses of the public network alone, or hosts that the machine's owner listed.

A name is resolved by us, every address of it is checked, and the connection goes to one that was checked:
a name that changes between the look and the connection (DNS rebinding) leads nowhere else.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from msgspec import Struct

LONGEST_URL = 2_000
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_NUMERIC = re.compile(r"\d+|0x[0-9a-f]*")
"""The last part of what some resolvers take for an address: 127.1, 0x7f000001, 2130706433."""
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]
"""A name's addresses, as text. Raises OSError."""

_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REFUSED = [
    ipaddress.ip_network(block)
    for block in (
        "168.63.129.16/32",  # Azure's own services of a virtual machine, by a public address
        "192.0.0.0/24",  # of protocols; a cloud's metadata, too
        "192.88.99.0/24",  # relays to 6to4
        "2001::/23",  # Teredo, ORCHID and others that carry or stand for something else
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
]


class RefusedDestination(Exception):
    """The message says why, and the mend."""


class Destination(Struct, frozen=True):
    """Where a webhook goes to. `host` is a name or an address without brackets; `target` path and query.
    `is_listed`: private addresses and http are allowed."""

    is_https: bool
    host: str
    port: int
    target: str
    is_listed: bool

    @property
    def authority(self) -> str:
        """As `Host` says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_https else 80) else f"{host}:{self.port}"


def read_destination(url: str, listed_hosts: Collection[str]) -> Destination:
    """`listed_hosts` are `host` or `host:port`, small letters. Raises RefusedDestination."""
    if len(url) > LONGEST_URL or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise RefusedDestination(
            f"an address has at most {LONGEST_URL:,} characters of ASCII without spaces: write other letters "
            "of a host as xn--..., and of a path with %"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedDestination(f"this is no address: {error}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise RefusedDestination("an address begins with https:// and a host")
    if "@" in parts.netloc:
        raise RefusedDestination("an address holds no name and password: webhooks are signed instead")
    if parts.fragment or url.endswith("#"):
        raise RefusedDestination("an address has no part behind #: nobody would see it")
    if port == 0:
        raise RefusedDestination("a port is 1 to 65535")
    host = parts.hostname.rstrip(".")
    is_https = parts.scheme == "https"
    port = port or (443 if is_https else 80)
    address = _address(host)
    if address is None and (not _NAME.fullmatch(host) or _NUMERIC.fullmatch(host.rpartition(".")[2])):
        raise RefusedDestination("the host is neither a name nor an address as it is usually written")
    name = f"[{host}]" if ":" in host else host
    is_listed = not {host, name, f"{name}:{port}"}.isdisjoint(listed_hosts)
    if not is_listed:
        if not is_https:
            raise RefusedDestination(
                "send to https:// alone, or have the host listed in NEARNORM_WEBHOOK_HOSTS"
            )
        if address is not None:
            check_address(address)
    path = parts.path or "/"
    return Destination(is_https, host, port, path + (f"?{parts.query}" if parts.query else ""), is_listed)


def addresses(destination: Destination, resolve: Resolve) -> list[str]:
    """Where to connect to. Raises RefusedDestination where any of them is not public, OSError."""
    found = resolve(destination.host, destination.port)
    if not found:
        raise OSError(f"the name {destination.host} has no address")
    if not destination.is_listed:
        for one in found:
            address = _address(one.partition("%")[0])
            if address is None:
                raise RefusedDestination(f"the name {destination.host} has an address that cannot be read")
            check_address(address)
    return found


def check_address(address: Address) -> None:
    """Raises RefusedDestination for one that is not of the public network, whatever way it is written."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return check_address(inner)
        if address not in _UNICAST:
            raise _private()
    if not address.is_global or address.is_multicast or address.is_reserved or _is_refused(address):
        raise _private()
    return None


def _is_refused(address: Address) -> bool:
    return any(address.version == block.version and address in block for block in _REFUSED)


def _private() -> RefusedDestination:
    """Without the address: who asks may not know it."""
    return RefusedDestination(
        "the host has an address that is not of the public network: have it listed in NEARNORM_WEBHOOK_HOSTS"
    )


def resolve(host: str, port: int) -> list[str]:
    """By this machine's resolver, each address once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

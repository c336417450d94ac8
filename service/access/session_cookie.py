"""The session's cookie: how its secret goes to the browser, and comes back with every request."""

import re
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from nearnorm.service.errors import Unauthorized

COOKIE = "nearnorm_session"
_SECRET = re.compile(rb"[A-Za-z0-9_-]{43}")


def sent_secret(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """None where none was sent, or what cannot be one. Raises Unauthorized for two: which is meant?"""
    found: set[bytes] = set()
    for header, value in headers:
        if header == b"cookie":
            pairs = (pair.partition(b"=") for pair in value.split(b";"))
            found.update(text.strip() for name, _, text in pairs if name.strip() == COOKIE.encode())
    secrets = [text.decode() for text in found if _SECRET.fullmatch(text)]
    if len(secrets) > 1:
        raise Unauthorized(f"two cookies {COOKIE} were sent: delete this site's cookies and sign in again")
    return secrets[0] if secrets else None


def give(response: Response, request: Request, secret: str, seconds: int, https: bool) -> None:
    """No script can read it, and no other site's page makes the browser write with it.

    `https`: the browser is known to come by it.
    """
    response.set_cookie(
        COOKIE,
        secret,
        max_age=seconds,
        path="/",
        secure=https or _by_https(request),
        httponly=True,
        samesite="lax",
    )


def take_back(response: Response, request: Request) -> None:
    response.delete_cookie(COOKIE, path="/", secure=_by_https(request), httponly=True, samesite="lax")


def _by_https(request: Request) -> bool:
    """As the browser saw it. Behind a proxy that ends TLS only its headers, or the page's origin, tell."""
    said = [request.url.scheme, request.headers.get("x-forwarded-proto", "")]
    return "https" in said or request.headers.get("origin", "").startswith("https://")

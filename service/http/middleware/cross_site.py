"""Cross-site protection: a web page that somebody has open must not drive the service through his browser.

A browser lets every page send simple requests to any address (CSRF), and a page whose name is made to point
here (DNS rebinding) may read the answers too. So Host has to be a name of this service, a write has to come
from no other site, and a body wants its content type. What is only read may be led to by a link, and neither
embedded nor asked by a script: a question costs, and a page hands records out. No other client sends Origin
or Sec-Fetch-Site. Our own pages' forms go to paths of their own, and only a browser that says where they are
from may send them.
"""

import ipaddress
import re
from collections.abc import Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from nearnorm.service.access.keyring import is_loopback
from nearnorm.service.errors import (
    CrossSiteRequest,
    MalformedRequest,
    MisdirectedRequest,
    ServiceError,
)
from nearnorm.service.http.body import Headers, is_form, kind_of
from nearnorm.service.http.middleware.problems import respond
from nearnorm.service.settings import Settings, listed

PROBES = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Asked by orchestrators, which send the address that they found."""
_READS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_ANSWERED = frozenset({"GET", "HEAD"})
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(?::\d{0,5})?")
_OWN_SITE = (b"same-origin", b"none")  # none: an address that somebody typed, or no browser
_REMEMBERED = 64  # Host headers that were found good


class CrossSiteRules:
    """`is_open` tells whether whoever comes without an API key is let in now; `forms` are the paths that
    read the forms of pages."""

    def __init__(
        self, settings: Settings, is_open: Callable[[], bool], forms: frozenset[str] = frozenset()
    ) -> None:
        self._is_open = is_open
        self._forms = forms
        self._listed = {name.lower().rstrip(".") for name in listed(settings.allowed_hosts)}
        self._own = {settings.host.strip("[]").lower()}
        self._by_address = not is_loopback(settings.host)
        self._origins = frozenset(origin.encode() for origin in listed(settings.cors_origins))
        self._good: set[bytes] = set()
        self._found_open = False

    def check(self, scope: Scope) -> None:
        """Raises MalformedRequest, MisdirectedRequest, CrossSiteRequest, UnsupportedMedia."""
        headers: Headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and scope["http_version"] == "1.1"):
            raise MalformedRequest(f"{len(hosts)} Host headers were sent: HTTP/1.1 wants one")
        if hosts:
            self._check_host(hosts[0], scope["path"] in PROBES)
        if scope["method"] not in _READS:
            self._check_origin(headers, hosts[0] if hosts else b"")
            if scope["path"] in self._forms and is_form(headers):
                _check_from_a_page(headers)
            else:
                kind_of(headers)  # a page may send forms and plain text to other sites, and no JSON
        elif scope["method"] in _ANSWERED and scope["path"] not in PROBES:
            self._check_reader(headers)

    def check_plain(self, headers: Headers) -> None:
        """`check` for a request of the fast path: JSON, one Host, and no word of a browser's.

        Raises MalformedRequest, MisdirectedRequest.
        """
        for name, value in headers:
            if name == b"host":
                if value not in self._good or self._is_open() is not self._found_open:
                    self._check_host(value, probed=False)
                return

    def _check_host(self, host: bytes, probed: bool) -> None:
        is_open = self._is_open()
        if is_open is not self._found_open:
            self._found_open = is_open
            self._good.clear()
        if host in self._good:
            return
        found = _HOST.fullmatch(host)
        if found is None:
            raise MalformedRequest("the Host header is no host and port")
        if probed:
            return
        name = found[1].decode().strip("[]").rstrip(".").lower()
        if not self._is_ours(name, is_open):
            raise MisdirectedRequest(
                f"{name!r} is no name of this service: "
                "send to localhost, or list it in NEARNORM_ALLOWED_HOSTS"
            )
        if len(self._good) < _REMEMBERED:
            self._good.add(host)

    def _is_ours(self, name: str, is_open: bool) -> bool:
        if not self._listed and not is_open:
            return True  # a page has no key
        if is_loopback(name) or name in self._own or name in self._listed or "*" in self._listed:
            return True
        if any(known[:2] == "*." and name.endswith(known[1:]) for known in self._listed):
            return True
        return self._by_address and not self._listed and _is_address(name)  # nobody can rebind an address

    def _check_origin(self, headers: Headers, host: bytes) -> None:
        for name, value in headers:
            if name == b"origin":
                origin = value.partition(b"://")[2]
                foreign = value not in self._origins and (not host or origin.lower() != host.lower())
            elif name == b"sec-fetch-site":
                foreign = value not in _OWN_SITE and not self._lists_origin(headers)
            else:
                continue
            if foreign:
                raise CrossSiteRequest(
                    f"a page of another site may not write here ({name.decode()}: "
                    f"{value.decode('latin-1')!r}): list its origin in NEARNORM_CORS_ORIGINS where it shall"
                )

    def _check_reader(self, headers: Headers) -> None:
        said = {name: value for name, value in headers if name.startswith(b"sec-fetch-")}
        site = said.get(b"sec-fetch-site", b"none")
        if site in _OWN_SITE or said.get(b"sec-fetch-dest") == b"document" or self._lists_origin(headers):
            return
        raise CrossSiteRequest(
            f"a page of another site may link here, and not ask or embed (sec-fetch-site: "
            f"{site.decode('latin-1')!r}): list its origin in NEARNORM_CORS_ORIGINS where it shall"
        )

    def _lists_origin(self, headers: Headers) -> bool:
        return any(name == b"origin" and value in self._origins for name, value in headers)


def _check_from_a_page(headers: Headers) -> None:
    """A form that passed `_check_origin` because nothing was there to be checked is refused."""
    if not any(name in (b"origin", b"sec-fetch-site") for name, _ in headers):
        raise CrossSiteRequest(
            "a form without Origin or Sec-Fetch-Site may come from any site: send it from the page, with a "
            "browser of this decade, or send JSON to the routes in /openapi.json"
        )


class CrossSiteProtection:
    """The rules before the routes."""

    def __init__(self, app: ASGIApp, rules: CrossSiteRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._rules.check(scope)
            except ServiceError as error:
                await respond(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def with_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Pages of the listed origins may read the answers; without any, the application as it is."""
    origins = listed(settings.cors_origins)
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID"),
        expose_headers=("Location", "Retry-After"),
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

"""A request's target -> its part of the ASGI scope."""

import urllib.parse
from typing import Any

import httptools

from nearnorm.service.errors import MalformedRequest
from nearnorm.service.http.body import Headers


def scope_of_target(url: bytes, headers: Headers, root_path: str) -> dict[str, Any]:
    """Path and query. Raises MalformedRequest where the target names another host than the header does."""
    target = httptools.parse_url(url)
    if target.host is not None:
        _check_authority(url, headers)
    path = target.path.decode("ascii")
    return {
        "path": root_path + (urllib.parse.unquote(path) if "%" in path else path),
        "raw_path": root_path.encode("ascii") + target.path,
        "query_string": target.query or b"",
    }


def _check_authority(url: bytes, headers: Headers) -> None:
    authority = url.partition(b"://")[2]
    for end in (b"/", b"?", b"#"):
        authority = authority.partition(end)[0]
    if [value.lower() for name, value in headers if name == b"host"] != [authority.lower()]:
        raise MalformedRequest("the target's host and the Host header differ")

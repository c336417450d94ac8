"""Which service is called, and with which API key."""

import os
from typing import Any

import httpx

from nearnorm import __version__

URL, KEY = "NEARNORM_URL", "NEARNORM_API_KEY"
_DEFAULT = "http://127.0.0.1:8000"


def options(url: str | None, api_key: str | None, timeout: float) -> dict[str, Any]:
    """For httpx. Redirects are not followed: the key is for this address alone. Raises ValueError."""
    headers = {"User-Agent": f"nearnorm/{__version__}"}
    key = (os.environ.get(KEY, "") if api_key is None else api_key).strip()
    if key:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"api_key (or {KEY}) holds characters that no key has")
        headers["Authorization"] = f"Bearer {key}"  # httpx shows it as [secure]
    return {
        "base_url": _checked(url or os.environ.get(URL, _DEFAULT)),
        "headers": headers,
        "timeout": timeout,
        "follow_redirects": False,
    }


def _checked(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise ValueError(f"url: {error}") from None
    if found.userinfo:
        raise ValueError(f"url: leave out the name and password before {found.host!r}; send an `api_key`")
    if found.scheme not in ("http", "https") or not found.host or found.query or found.fragment:
        raise ValueError(f"url: {url!r} is no address such as {_DEFAULT}")
    return found

"""A request's head once more, without the other protocol that it offers (RFC 9110, 7.8).

The parser takes what follows such a head for the other protocol, and calls the request whole: its body would
be lost, or be read as the next request. Java's HttpClient and `curl --http2` offer h2c with every request.
"""

import httptools

_OFFER = (b"upgrade", b"http2-settings")


def head_without_offer(
    parser: httptools.HttpRequestParser, url: bytes, headers: list[tuple[bytes, bytes]]
) -> bytes:
    """Its bytes, for a parser of its own. The names of `headers` are in small letters."""
    lines = [b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())]
    for name, value in headers:
        if name == b"connection":
            kept = [word for word in value.split(b",") if word.strip().lower() not in _OFFER]
            if not kept:
                continue
            value = b",".join(kept)
        if name not in _OFFER:
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])

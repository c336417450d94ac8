"""A request's headers and body: what kind it is, how large it may be, how it was packed."""

import asyncio
import zlib

from msgspec import Struct
from starlette.types import Message, Receive

from nearnorm.service.errors import BodyTooLarge, MalformedBody, UnsupportedMedia

Headers = list[tuple[bytes, bytes]]
JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"
NDJSON = b"application/x-ndjson"
FORM = b"application/x-www-form-urlencoded"
_LINES = (NDJSON, b"application/ndjson")
_GZIP_OR_ZLIB = 47  # zlib's code for: look which of the two it is
_JOINED_AT_ONCE = 2**21
_AT_ONCE = 1 << 14  # packed bytes: what follows a member is copied
_MEMBERS = 4096  # of one gzip body: the smallest of them take 20 bytes, and 5 microseconds
_TAKES_MORE = frozenset({b"content-encoding", b"transfer-encoding", b"expect", b"origin", b"sec-fetch-site"})


class ClientGoneError(Exception):
    """The client hung up before its request was whole."""


class MediaKind(Struct, frozen=True):
    """`content` is JSON, NDJSON or ARROW."""

    content: bytes
    packed: bool


PLAIN_JSON = MediaKind(JSON, packed=False)


def kind_of(headers: Headers) -> MediaKind:
    """What a body is, by the head; JSON where there is none. Raises UnsupportedMedia.

    A body without a content type is refused: a page may send such a one to other sites without their leave.
    """
    content, packed, follows = b"", False, False
    for name, value in headers:
        if name == b"content-type":
            content = value
        elif name == b"content-length":
            follows = follows or int(value) > 0
        elif name == b"transfer-encoding":
            follows = True
        elif name == b"content-encoding":
            packed = _is_packed(value)
    if not follows or (content == JSON and not packed):
        return PLAIN_JSON
    plain = NDJSON if is_lines(content) else _media_type(content)
    if plain not in (JSON, NDJSON, ARROW):
        found = (
            f"content type {content.decode('latin-1')!r} is not read"
            if content
            else "no content type was sent"
        )
        raise UnsupportedMedia(f"{found}: send {JSON.decode()}, {NDJSON.decode()} or {ARROW.decode()}")
    return MediaKind(plain, packed)


def is_form(headers: Headers) -> bool:
    """Whether a body comes as a browser sends a form without a script, as it is."""
    kinds = [value for name, value in headers if name == b"content-type"]
    packed = any(name == b"content-encoding" for name, _ in headers)
    return len(kinds) == 1 and _media_type(kinds[0]) == FORM and not packed


def is_lines(content_type: bytes) -> bool:
    """Whether it is JSON, a value a line."""
    return _media_type(content_type) in _LINES


def size_of_plain_json(headers: Headers) -> int | None:
    """Bytes of a JSON body that comes as it is, and of which the head says how large it is.

    None where it does not, or where there is more to look at: not exactly one Host, a browser's words.
    """
    size, typed, hosts = None, False, 0
    for name, value in headers:
        if name == b"content-length":
            size = int(value)
        elif name == b"content-type":
            if value != JSON and _media_type(value) != JSON:
                return None
            typed = True
        elif name == b"host":
            hosts += 1
        elif name in _TAKES_MORE:
            return None
    return size if typed and hosts == 1 else None


def size_of_body(headers: Headers) -> int:
    """Bytes of a body, as its head says; 0 where it does not."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0


async def read_body(receive: Receive, kind: MediaKind, max_body: int) -> bytes:
    """The whole body, unpacked. Raises BodyTooLarge, MalformedBody, ClientGoneError."""
    message = await receive()
    if message.get("more_body") or message["type"] == "http.disconnect":
        body = await _gathered(message, receive, max_body)
    else:
        body = message.get("body", b"")
        check_size(len(body), max_body)
    if not kind.packed:
        return body
    # a hundred kilobytes may take a tenth of a second; zlib leaves the interpreter to others meanwhile
    return await asyncio.to_thread(_unpacked, body, max_body)


async def _gathered(message: Message, receive: Receive, max_body: int) -> bytes:
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        check_size(size, max_body)
        if not message.get("more_body"):
            # tens of megabytes take tens of milliseconds; the interpreter is left to others meanwhile
            return await asyncio.to_thread(b"".join, chunks) if size > _JOINED_AT_ONCE else b"".join(chunks)
        message = await receive()


def _media_type(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()


def _is_packed(encoding: bytes) -> bool:
    name = encoding.strip().lower()
    if name in (b"gzip", b"x-gzip", b"deflate"):
        return True
    if name == b"identity":
        return False
    raise UnsupportedMedia(
        f"content encoding {encoding.decode('latin-1')!r} is not read: send gzip, deflate or plain"
    )


def _unpacked(body: bytes, max_body: int) -> bytes:
    """Never more than `max_body` bytes are unpacked, whatever a small body promises.

    A gzip body may have several members, one behind the other (RFC 1952, 2.2).
    """
    parts, size, place = [], 0, 0
    for _ in range(_MEMBERS):
        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            while not unpacker.eof and place < len(body):
                packed = body[place : place + _AT_ONCE]
                parts.append(unpacker.decompress(packed, max_body + 1 - size))
                size += len(parts[-1])
                check_size(size, max_body)
                place += len(packed) - len(unpacker.unused_data)
        except zlib.error as error:
            raise MalformedBody(f"the body is not what its content encoding says: {error}") from None
        if not unpacker.eof:
            raise MalformedBody("the packed body is cut off")
        if place == len(body):
            return b"".join(parts)
        if body[place : place + 2] != b"\x1f\x8b":
            raise MalformedBody("something follows the packed body")
    raise MalformedBody(f"the packed body has more than {_MEMBERS} members")


def check_size(size: int, max_body: int) -> None:
    """Raises BodyTooLarge."""
    if size > max_body:
        raise BodyTooLarge(f"the body is larger than {max_body} bytes: send fewer rows a request")

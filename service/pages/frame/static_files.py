"""Style sheets and scripts: files beside this one, named by what they hold, packed once."""

import asyncio
import gzip
import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from nearnorm.service.errors import NotFound

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parent.parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_EVER = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


@router.get("/static/{version}/{name:path}")
async def get_file(request: Request, version: str, name: str) -> Response:
    """A file of the pages, for ever under its version. Raises NotFound."""
    found = await asyncio.to_thread(_files)
    if version != await asyncio.to_thread(_version) or name not in found:
        raise NotFound("no such file belongs to the pages")
    media = _TYPES[Path(name).suffix]
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(await asyncio.to_thread(found[name].read_bytes), media_type=media, headers=_FOR_EVER)
    packed = await asyncio.to_thread(_packed, name)
    return Response(packed, media_type=media, headers=_FOR_EVER | {"Content-Encoding": "gzip"})


def url_of(name: str) -> str:
    """Where a file is served. Raises KeyError for one that is not there."""
    if name not in _files():
        raise KeyError(name)
    return f"/static/{_version()}/{name}"


@cache
def _files() -> dict[str, Path]:
    return {
        path.relative_to(_FOLDER).as_posix(): path
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in _TYPES
    }


@cache
def _version() -> str:
    """One for all, so that modules import each other by their relative names."""
    every = hashlib.sha256()
    for name, path in _files().items():
        every.update(f"{name}\0".encode() + path.read_bytes())
    return every.hexdigest()[:12]


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(_files()[name].read_bytes(), 9, mtime=0)

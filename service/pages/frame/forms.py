"""A form as a browser sends it without a script: fields by name, bounded."""

from urllib.parse import parse_qs

from fastapi import Request

from nearnorm.service.access.sessions import check_csrf
from nearnorm.service.errors import InvalidRequest, MalformedBody, UnsupportedMedia
from nearnorm.service.http.body import PLAIN_JSON, is_form, read_body

MOST_BYTES = 256 * 1024
MOST_FIELDS = 2_000


class Form:
    """Fields that were filled in."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def get(self, name: str) -> str | None:
        """What stands in a field; None where nothing does. Raises InvalidRequest for two of the name."""
        found = self._fields.get(name)
        if found is None:
            return None
        if len(found) > 1:
            raise InvalidRequest(f"{name}: send it once", field=name)
        return found[0]

    def need(self, name: str) -> str:
        """Raises InvalidRequest where nothing stands in a field."""
        found = self.get(name)
        if found is None:
            raise InvalidRequest(f"{name}: fill it in", field=name)
        return found

    def every(self, name: str) -> list[str]:
        """All fields of a name, as ticked boxes have."""
        return self._fields.get(name, [])


async def form_of(request: Request) -> Form:
    """The form of a page that a visitor was shown.

    Raises as `sent_form`; Unauthorized or WrongCsrfToken where he has signed in or out since.
    """
    form = await sent_form(request)
    check_csrf(request.state.caller, form.get("csrf"))
    return form


async def sent_form(request: Request) -> Form:
    """Raises UnsupportedMedia, BodyTooLarge, MalformedBody, ClientGoneError."""
    if not is_form(request.headers.raw):
        raise UnsupportedMedia("send the page's own form (application/x-www-form-urlencoded)")
    body = await read_body(request.receive, PLAIN_JSON, MOST_BYTES)
    try:
        text = body.decode("ascii")
        fields = parse_qs(text, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:  # no ASCII, no UTF-8 behind the percent signs, or too many
        raise MalformedBody("the form cannot be read: load the page again and send it once more") from None
    return Form(fields)

"""The team's page, for operators: who reviews what now, how far analysts agree, who is in quarantine."""

from typing import cast
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from msgspec import Struct

from nearnorm.service.api import analysts
from nearnorm.service.api.review import claims
from nearnorm.service.api.review.claims import Lease, ReleaseRequest
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.ledger.tables.feedback.quarantine import LabellerKind
from nearnorm.service.pages.frame.forms import Form, form_of
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Operator

router = pages()

MOST_LEASES = 1_000
MOST_ANALYSTS = 50
KINDS = ("analyst", "key")


class AtWork(Struct):
    """What one analyst holds: so many records, the last until then."""

    key: str
    analyst: str
    records: int
    until: str


@router.get("/team")
async def get_team(
    request: Request, visitor: Operator, model: str = "default", cursor: int = 0, done: str = ""
) -> Response:
    """`cursor` is where the analysts go on, `done` what was done last."""
    held = await claims.held_by(request, model, None, MOST_LEASES)
    tallied = await analysts.tallied(request, visitor.caller, MOST_ANALYSTS, max(cursor, 0))
    return await page(
        request,
        "team.html",
        model=model,
        done=_DONE.get(done),
        at_work=at_work(held.claims),
        more_at_work=held.next is not None,
        analysts=tallied.analysts,
        next=tallied.next,
        quarantine=tallied.quarantine,
        silenced={
            one.name for one in tallied.quarantine if one.kind == "analyst" and one.model in (None, model)
        },
        sees_every=visitor.caller.lines.is_every,
    )


@router.post("/team/take-back")
async def post_take_back(request: Request, visitor: Operator) -> Response:
    """As POST /claims/release with a key."""
    form = await form_of(request)
    asked = ReleaseRequest(_model(form), form.need("key"), form.need("analyst"))
    await claims.released(request, visitor.caller, asked)
    return _back(form, "take-back")


@router.post("/team/quarantine")
async def post_quarantine(request: Request, visitor: Operator) -> Response:
    """As POST /analysts/{name}/quarantine."""
    form = await form_of(request)
    where = _where(visitor, form)
    await analysts.silenced(request, visitor.caller, _kind(form), form.need("name"), form.need("why"), where)
    return _back(form, "quarantine")


@router.post("/team/release")
async def post_release(request: Request, visitor: Operator) -> Response:
    """As DELETE /analysts/{name}/quarantine."""
    form = await form_of(request)
    why = form.get("why") or ""
    where = form.get("held") or None
    await analysts.heard_again(request, visitor.caller, _kind(form), form.need("name"), why, where)
    return _back(form, "release")


def at_work(leases: list[Lease]) -> list[AtWork]:
    """Leases by whoever holds them, in the order in which they were handed out."""
    found: dict[tuple[str, str], AtWork] = {}
    for lease in leases:
        one = found.setdefault((lease.key, lease.analyst), AtWork(lease.key, lease.analyst, 0, ""))
        one.records += 1
        one.until = max(one.until, lease.claimed_until)
    return list(found.values())


_DONE = {
    "take-back": "Taken back: others are handed these records now.",
    "quarantine": "Nothing that they said counts any more; the next model forgets it.",
    "release": "All that they said counts again.",
}


def _model(form: Form) -> str:
    return form.get("model") or "default"


def _where(visitor: Operator, form: Form) -> str | None:
    """The model that a quarantine shall hold in; None: every one, if that is asked for, and seen."""
    return None if visitor.caller.lines.is_every and form.get("everywhere") else _model(form)


def _kind(form: Form) -> LabellerKind:
    kind = form.need("kind")
    if kind not in KINDS:
        raise InvalidRequest("kind: send analyst or key", field="kind")
    return cast("LabellerKind", kind)


def _back(form: Form, done: str) -> RedirectResponse:
    return see_other(f"/team?{urlencode({'model': _model(form), 'done': done})}")

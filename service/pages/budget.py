"""The page of the alert budget: a slider on the curve, what was promised and raised, undo."""

from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from nearnorm.service.api import policy
from nearnorm.service.api.dependencies import model_of, read
from nearnorm.service.api.policy import UndoRequest
from nearnorm.service.feedback.figures.budget_curve import BudgetKind
from nearnorm.service.pages.frame.forms import Form, form_of
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Operator, Overseer
from nearnorm.service.pages.pictures.budget import picture, shown
from nearnorm.service.verdict.policies import Change

router = pages()

KINDS: dict[BudgetKind, str] = {
    "day": "Alerts a day",
    "traffic": "Share of all traffic",
    "normal": "Share of normal traffic",
}


@router.get("/budget")
async def get_budget(
    request: Request, visitor: Overseer, model: str = "default", by: BudgetKind | None = None
) -> Response:
    """What is in force, and what every other budget would come to."""
    loaded = await model_of(request, model)
    curve = await policy.curve_of(request, loaded, by)
    told = await policy.in_force_of(request, loaded)
    positions = shown(curve.positions)
    now = shown([*curve.positions, curve.in_force])[-1]
    return await page(
        request,
        "budget.html",
        model=model,
        policy=_EMPTY | told,
        kinds=KINDS,
        by=curve.by,
        positions=positions,
        now=now,
        at=curve.at,
        picture=picture(curve.positions),
        missing=curve.missing(),
        verdicts=curve.verdicts,
        per_day=curve.in_force.alerts is not None,
    )


@router.post("/budget/save")
async def post_budget(request: Request, visitor: Operator) -> Response:
    """As PUT /policy."""
    form = await form_of(request)
    model = form.get("model") or "default"
    change = read(msgspec.json.encode({"model": model, "budget": form.need("budget")}), Change)
    await policy.changed(request, visitor.caller, change)
    return _back(form)


@router.post("/budget/undo")
async def post_undo(request: Request, visitor: Operator) -> Response:
    """As POST /policy/undo."""
    form = await form_of(request)
    await policy.undone(request, visitor.caller, UndoRequest(form.get("model") or "default"))
    return _back(form)


_EMPTY: dict[str, Any] = dict.fromkeys(("at", "by", "problem", "warnings", "missing", "previous"))
"""What GET /policy leaves out where there is none; a template asks for it all the same."""


def _back(form: Form) -> RedirectResponse:
    where = {"model": form.get("model") or "default"} | ({"by": by} if (by := form.get("by")) else {})
    return see_other(f"/budget?{urlencode(where)}")

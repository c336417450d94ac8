"""Templates to pages: rendered beside the event loop, escaped, and held to this host by their headers."""

import asyncio
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.api.review.skips import REASONS as SKIP_REASONS
from nearnorm.service.pages.frame import words
from nearnorm.service.pages.frame.static_files import url_of
from nearnorm.service.pages.frame.views import VIEWS
from nearnorm.service.pages.frame.visitor import Visitor
from nearnorm.service.serving.registry import Registry

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).parent.parent / "templates"

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none, a browser's form comes from the origin "null"
    "Cache-Control": "no-store",
}
"""`data:` pictures are the arrows and ticks inside the vendored style sheet."""


async def page(
    request: Request,
    template: str,
    /,
    status: int = 200,
    **context: Any,  # noqa: ANN401 - what templates read
) -> HTMLResponse:
    """A template with `context`, `visitor`, `path` and the models that he may choose, as an answer."""
    visitor = getattr(request.state, "visitor", None)
    context |= {"visitor": visitor, "path": request.url.path, "models": models_of(request, visitor)}
    context["chosen_model"] = request.query_params.get("model") or DEFAULT_MODEL
    html = await asyncio.to_thread(_rendered, template, context)
    return HTMLResponse(html, status, HEADERS)


def models_of(request: Request, visitor: Visitor | None) -> list[str]:
    """What a visitor may choose from: the models that he sees, by name."""
    if visitor is None:
        return []
    registry: Registry = request.app.state.registry
    return sorted(filter(visitor.caller.lines.sees, registry.lines()))


def _rendered(template: str, context: dict[str, Any]) -> str:
    return _environment().get_template(template).render(context)


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # here: a service whose pages nobody opens starts as fast and as small without it

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {
        "static": url_of,
        "views": VIEWS,
        "of_model": {view.path for view in VIEWS},
        "why": words.WHY,
        "why_short": words.WHY_SHORT,
        "skip_reasons": SKIP_REASONS,
    }
    found.filters |= words.FILTERS
    return found

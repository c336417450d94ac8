"""Every route of the pages, and the paths that read their forms."""

from fastapi import APIRouter
from fastapi.routing import APIRoute

from nearnorm.service.pages import (
    budget,
    effects,
    groups,
    loop,
    overview,
    provider_sign_in,
    review,
    search,
    sign_in,
    team,
    verdict,
)

_pages = (sign_in, provider_sign_in, review, effects, groups, search, loop, budget, overview, team, verdict)
VIEWED = tuple(one.router for one in _pages)

router = APIRouter()
for view in VIEWED:
    router.routes.extend(view.routes)

FORMS = frozenset(
    route.path
    for view in VIEWED
    for route in view.routes
    if isinstance(route, APIRoute) and "POST" in (route.methods or ())
)

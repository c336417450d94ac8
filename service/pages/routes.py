"""Every route of the pages, and the paths that read their forms."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from nearnorm.service.pages import review, static_files
from nearnorm.service.pages.routing import see_other

_views = (review.router,)

router = APIRouter()
for view in (static_files.router, *_views):
    router.include_router(view)

FORMS = frozenset(
    route.path
    for view in _views
    for route in view.routes
    if isinstance(route, APIRoute) and "POST" in (route.methods or ())
)


@router.get("/", include_in_schema=False)
async def get_root() -> RedirectResponse:
    """The page that most people come for."""
    return see_other("/review")

"""The HTTP interface, shown and tried in the browser: swagger-ui over /openapi.json, all from this host."""

from fastapi import Request, Response

from nearnorm.service.pages.frame.routing import pages
from nearnorm.service.pages.frame.site import page

router = pages()


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """As public as /openapi.json: what is tried there is asked as whoever tries it."""
    return await page(request, "docs.html")

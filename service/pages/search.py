"""The page that searches the event log: a filter that is a link, and one verdict for all that match."""

from collections.abc import Mapping
from datetime import UTC
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from nearnorm.service.api.dependencies import model_of
from nearnorm.service.api.review.event_list import ListQuery, listed
from nearnorm.service.api.review.kept_query import MOST_LISTED
from nearnorm.service.pages.frame.routing import pages
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Reviewer

router = pages()


@router.get("/search")
async def get_search(request: Request, visitor: Reviewer) -> Response:
    """As GET /events, with its parameters; those left empty filter nothing."""
    asked = _asked(request.query_params)
    try:
        query = ListQuery.model_validate({"limit": MOST_LISTED, **asked})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    found = await listed(request, query)
    scored = (await model_of(request, query.model)).manifest.core.features.scored
    features = [feature.name for feature in scored]
    if query.feature is not None and query.feature not in features:
        features.append(query.feature)  # an older version's
    filters = {name: value for name, value in asked.items() if name not in ("limit", "cursor")}
    return await page(
        request,
        "search.html",
        model=query.model,
        asked=dict.fromkeys(ListQuery.model_fields, "") | asked | _times(query),
        missing=query.equals == "",
        features=features,
        found=found,
        link=urlencode(filters),
        rest=None if found.next is None else urlencode({**asked, "cursor": found.next}),
    )


def _asked(sent: Mapping[str, str]) -> dict[str, str]:
    """What was filled in. A browser's times have no zone: the page says that they are UTC."""
    asked = {name: value for name, value in sent.items() if name in ListQuery.model_fields and value}
    if sent.get("missing"):
        asked["equals"] = ""
    for name in ("since", "until"):
        if name in asked and len(asked[name]) in (16, 19) and asked[name][10] == "T":
            asked[name] += "Z"
    return asked


def _times(query: ListQuery) -> dict[str, str]:
    """As the form's fields for times take them: in UTC."""
    times = {"since": query.since, "until": query.until}
    return {
        name: f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}" for name, time in times.items() if time is not None
    }

"""Who looks at a page, and what he may do there."""

from typing import Annotated, Any

from fastapi import Depends, Request
from msgspec import Struct

from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.access.keyring import Caller, check_role
from nearnorm.service.api.dependencies import services_of
from nearnorm.service.errors import ColdModel
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.pages.frame.views import EITHER, View
from nearnorm.service.serving.registry import Registry


class Visitor(Struct, frozen=True):
    """A caller as pages show him."""

    caller: Caller

    @property
    def name(self) -> str:
        return self.caller.analyst or self.caller.name

    @property
    def csrf(self) -> str | None:
        """What his forms have to carry, where he signed in."""
        return self.caller.session.csrf_token if self.caller.session else None

    def may(self, role: str) -> bool:
        return role in self.caller.roles

    def sees(self, view: View) -> bool:
        return not self.caller.roles.isdisjoint(view.roles)


def visitor(*roles: str) -> Any:  # noqa: ANN401 - FastAPI's marker has no type
    """A dependency that answers who looks: one who has any of `roles`, where there are some.

    Raises as `Sessions.admit`.
    """

    async def admitted(request: Request) -> Visitor:
        found = Visitor(await services_of(request).sessions.admit(request.headers.raw, None))
        request.state.caller = found.caller
        request.state.visitor = found  # first: a page that he may not see tells him who he is
        if found.caller.roles.isdisjoint(roles):
            check_role(found.caller, roles[0] if roles else None)
        if roles and request.method == "GET" and "model" not in request.query_params:
            _lead_to_seen(request, found.caller.lines)
        return found

    return Depends(admitted)


def _lead_to_seen(request: Request, lines: SeenLines) -> None:
    """A page is of the default model, unless it is told; who does not see that is led to one that he sees.

    Raises Elsewhere.
    """
    registry: Registry = request.app.state.registry
    try:
        seen = registry.first(lines).ref.name
    except ColdModel as cold:
        seen = cold.model
    if seen != DEFAULT_MODEL and not lines.sees(DEFAULT_MODEL):
        raise Elsewhere(str(request.url.include_query_params(model=seen).replace(scheme="", netloc="")))


class Elsewhere(Exception):
    """The page is at another address of this service."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


AnyVisitor = Annotated[Visitor, visitor()]
Reviewer = Annotated[Visitor, visitor("feedback")]
Operator = Annotated[Visitor, visitor("operate")]
Overseer = Annotated[Visitor, visitor(*EITHER)]
"""Who reviews or operates: sees how the loop goes, and what is alerted on."""

"""Who looks at a page, and what he may do there."""

from typing import Annotated, Any

from fastapi import Depends, Request
from msgspec import Struct

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import services_of


class Visitor(Struct, frozen=True):
    """A caller as pages show him. `csrf` is what his forms have to carry, where he signed in."""

    caller: Caller
    csrf: str | None = None

    @property
    def name(self) -> str:
        return self.caller.name

    def may(self, role: str) -> bool:
        return role in self.caller.roles


def visitor(role: str | None) -> Any:  # noqa: ANN401 - FastAPI's marker has no type
    """A dependency that answers who looks; None is any role. Raises Unauthorized, Forbidden, RateLimited."""

    async def admitted(request: Request) -> Visitor:
        found = Visitor(services_of(request).keyring.admit(request.headers.raw, role))
        request.state.caller = found.caller
        request.state.visitor = found
        return found

    return Depends(admitted)


AnyVisitor = Annotated[Visitor, visitor(None)]
Reviewer = Annotated[Visitor, visitor("feedback")]
Operator = Annotated[Visitor, visitor("operate")]

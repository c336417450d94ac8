"""The pages that the navigation offers, and the roles that open them."""

from msgspec import Struct


class View(Struct, frozen=True):
    """Any of `roles` opens it."""

    path: str
    name: str
    roles: tuple[str, ...]


EITHER = ("feedback", "operate")

VIEWS = (
    View("/review", "Review", ("feedback",)),
    View("/groups", "Groups", ("feedback",)),
    View("/search", "Search", ("feedback",)),
    View("/loop", "Loop", EITHER),
    View("/budget", "Budget", EITHER),
    View("/overview", "Overview", ("feedback",)),
    View("/team", "Team", ("operate",)),
)

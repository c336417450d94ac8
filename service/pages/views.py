"""The pages that the navigation offers, and the role that each asks for."""

from msgspec import Struct


class View(Struct, frozen=True):
    path: str
    name: str
    role: str


VIEWS = (View("/review", "Review", "feedback"),)

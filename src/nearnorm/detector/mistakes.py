"""A user's mistakes as Python libraries expect them: ValueErrors."""

from collections.abc import Iterator
from contextlib import contextmanager

from nearnorm.models.errors import NearnormError


class InvalidInput(NearnormError, ValueError):
    """X, y or a parameter. The message names it and the mend."""


class NearnormWarning(UserWarning):
    """What training found odd about its data."""


@contextmanager
def as_value_errors() -> Iterator[None]:
    """What training and scoring refuse is raised as InvalidInput."""
    try:
        yield
    except InvalidInput:
        raise
    except NearnormError as error:
        raise InvalidInput(str(error)) from None

"""A callback that does not keep its object alive."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakMethod

P = ParamSpec("P")
T = TypeVar("T")


def weakly(method: Callable[P, T]) -> Callable[P, T]:
    """Call a bound method for as long as its object is there; raises ReferenceError from then on.

    An object that holds who calls it back would be a cycle: gone only with a full garbage collection,
    which a service that is well does not come to for hours.
    """
    found = WeakMethod(method)

    def call(*args: P.args, **named: P.kwargs) -> T:
        bound = found()
        if bound is None:
            raise ReferenceError("the object that was to be called is gone")
        return bound(*args, **named)

    return call

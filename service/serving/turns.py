"""A queue in which callers take turns, each with his own requests in order. A lone caller has a plain one."""

from collections import deque
from typing import Generic, Protocol, TypeVar


class Sent(Protocol):
    @property
    def caller(self) -> str: ...


Request = TypeVar("Request", bound=Sent)


class Turns(Generic[Request]):
    def __init__(self) -> None:
        self._of: dict[str, deque[Request]] = {}  # whose turn is next comes first; none is empty

    def __bool__(self) -> bool:
        return bool(self._of)

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    @property
    def first(self) -> Request:
        return next(iter(self._of.values()))[0]

    def append(self, request: Request) -> None:
        own = self._of.get(request.caller)
        if own is None:
            self._of[request.caller] = deque((request,))
        else:
            own.append(request)

    def popleft(self) -> Request:
        """The next one; its caller's turn is over."""
        caller = next(iter(self._of))
        own = self._of[caller]
        request = own.popleft()
        if len(self._of) > 1:
            del self._of[caller]
            if own:
                self._of[caller] = own
        elif not own:
            self._of.clear()
        return request

    def appendleft(self, request: Request) -> None:
        """It is the next one after all."""
        own = self._of.pop(request.caller, deque())
        own.appendleft(request)
        self._of = {request.caller: own, **self._of}

    def newest(self, caller: str) -> Request | None:
        own = self._of.get(caller)
        return own[-1] if own else None

    def remove_newest(self, caller: str) -> None:
        own = self._of[caller]
        own.pop()
        if not own:
            del self._of[caller]

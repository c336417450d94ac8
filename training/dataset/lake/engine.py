"""Who reads a lake's pieces: this process, one after the other, or others at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from nearnorm.models.data.files.parts import Piece

Found = TypeVar("Found")


class LakeEngine(Protocol):
    """Whatever works on the pieces, and wherever: what it finds comes in the order of the pieces, once."""

    def __call__(
        self, work: Callable[[Piece], Iterator[Found]], pieces: Sequence[Piece]
    ) -> Iterator[Found]: ...


def in_this_process(work: Callable[[Piece], Iterator[Found]], pieces: Sequence[Piece]) -> Iterator[Found]:
    """The engine where no other is asked for."""
    for piece in pieces:
        yield from work(piece)

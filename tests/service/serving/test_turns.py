"""Callers take turns; each one's requests stay in their order."""

from collections.abc import Iterable

from msgspec import Struct

from nearnorm.service.serving.turns import Turns


class One(Struct, frozen=True):
    caller: str
    number: int


def queue(names: Iterable[str]) -> Turns[One]:
    turns: Turns[One] = Turns()
    for number, name in enumerate(names):
        turns.append(One(name, number))
    return turns


def taken(turns: Turns[One]) -> list[int]:
    found = []
    while turns:
        first = turns.first
        found.append(turns.popleft().number)
        assert first.number == found[-1]
    return found


def test_a_lone_caller_has_a_plain_queue() -> None:
    turns = queue("aaaa")
    assert len(turns) == 4
    assert taken(turns) == [0, 1, 2, 3]
    assert not turns


def test_each_caller_s_first_comes_before_anybody_s_second() -> None:
    assert taken(queue("aaabac")) == [0, 3, 5, 1, 2, 4]


def test_what_is_put_back_is_next() -> None:
    turns = queue("aab")
    turns.appendleft(turns.popleft())
    assert taken(turns) == [0, 2, 1]


def test_a_caller_s_newest_can_be_taken_out() -> None:
    turns = queue("aab")
    assert turns.newest("c") is None
    assert turns.newest("a") == One("a", 1)
    turns.remove_newest("a")
    turns.remove_newest("b")
    assert taken(turns) == [0]

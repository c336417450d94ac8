"""A group of events goes into SQLite by few different statements: its driver keeps each that it has seen."""

from nearnorm.service.ledger.tables.events.events import ROWS_A_STATEMENT, parts


def test_groups_of_every_size_are_whole_and_need_few_statements() -> None:
    sizes = set()
    for count in range(3 * ROWS_A_STATEMENT):
        rows: list[tuple[object, ...]] = [(i,) for i in range(count)]
        cut = list(parts(rows))
        assert [row for part in cut for row in part] == rows
        sizes |= {len(part) for part in cut}
    assert len(sizes) == 10
    assert max(sizes) == ROWS_A_STATEMENT

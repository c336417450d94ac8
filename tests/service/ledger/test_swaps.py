"""What the watch found of a version is kept once a version, and told while it stands against one."""

from msgspec.structs import replace

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import swaps
from nearnorm.service.ledger.tables.swaps import Swap


def test_the_newest_word_on_a_version_stands_and_only_a_bad_one_is_a_problem(ledger: Ledger) -> None:
    swap = Swap("default", "v2", "v1", 1_764_000_000_000, figures={"labels": 3})
    with ledger.write() as connection:
        swaps.put(connection, swap)
        assert swaps.find(connection, "default", "v2") == swap
        assert swaps.find(connection, "default", "v1") is None
        assert swaps.problems(connection).get(("default", "v2")) is None
        worse = replace(swap, outcome="worse", reason="v2 is worse")
        swaps.put(connection, worse)
        assert swaps.find(connection, "default", "v2") == worse
        assert swaps.problems(connection).get(("default", "v2")) == "model 'default': v2 is worse"
        assert swaps.problems(connection).get(("other", "v2")) is None
        swaps.put(connection, replace(swap, outcome="rolled_back", reason="v2 was worse"))
        assert swaps.problems(connection).get(("default", "v2")) is None

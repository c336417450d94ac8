"""Over HTTP: one answer for each record, its id as it was sent, and the same one in whatever company."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving

_ODD: st.SearchStrategy[Any] = st.sampled_from([None, True, "", "12", " 7 ", "abc", [], {"a": 1}, 1e6])
_RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "amount": st.floats(-1e4, 1e4) | _ODD,
            "channel": st.sampled_from(["web", "shop", "fax"]) | _ODD,
        },
        optional={
            "epoch": st.integers(1_600_000_000, 1_800_000_000) | _ODD,
            "country": st.text(max_size=4) | st.sampled_from(["DE", "FR"]) | _ODD,
            "new device": st.booleans() | _ODD,
            "colour": st.text(max_size=3),
        },
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    bundle = make_bundle(tmp_path_factory.mktemp("bundle") / "payments")
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    with serving(create_app(Settings(home=home, audit_rate=0.0))) as client:
        # what is novel alerts until too much is: of the same record not always the same
        client.put("/policy", json={"budget": "1%", "alert_on_novel": False}).raise_for_status()
        yield client


def results(client: httpx.Client, records: list[Any], ids: list[Any]) -> dict[Any, dict[str, Any]]:
    """The answers by id; their number and order are checked on the way."""
    answer = client.post("/score", json={"records": records, "ids": ids})
    assert answer.status_code == 200, answer.text
    found = answer.json()["results"]
    assert [result["id"] for result in found] == ids
    assert all(("error" in result) != ("score" in result) for result in found)
    for result in found:
        result.pop("event_id", None)  # of alerts, and new each time
    return {result["id"]: result for result in found}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    numbers = ("score", "percentile", "distance", "reconstruction_error")
    rest = [{name: v for name, v in result.items() if name not in numbers} for result in (one, other)]
    tolerant = {name: one[name] for name in numbers if name in one}
    return rest[0] == rest[1] and tolerant == pytest.approx(
        {name: other[name] for name in numbers if name in other}, rel=1e-4, abs=1e-5
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(records=_RECORDS, random=st.randoms(use_true_random=False))
def test_a_record_is_answered_alike_alone_in_any_batch_and_in_any_order(
    client: httpx.Client, records: list[dict[str, Any]], random: Any
) -> None:
    ids: list[Any] = [number if number % 2 else f"tx-{number}" for number in range(len(records))]
    together = results(client, records, ids)
    order = list(range(len(records)))
    random.shuffle(order)
    shuffled = results(client, [records[i] for i in order], [ids[i] for i in order])
    cut = random.randrange(len(records) + 1)
    for id_ in ids:
        assert same(together[id_], shuffled[id_])
    for part in (slice(0, cut), slice(cut, None)):
        if records[part]:
            for id_, result in results(client, records[part], ids[part]).items():
                assert same(together[id_], result)
    alone = random.randrange(len(records))
    assert same(together[ids[alone]], results(client, [records[alone]], [ids[alone]])[ids[alone]])

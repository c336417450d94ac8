"""Whose label it is: one spelling of a name, and who may take a label back; on both databases."""

from collections.abc import Iterator

import httpx
import pytest

from nearnorm.service.access import keyring
from nearnorm.service.access.analyst_name import normalised
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, label, mistakes, score, stored
from tests.service.running import serving

EVES = [
    "eve",
    " eve",
    "eve\n",
    "e\u200bve",
    "\u202eeve",
    "\uff45\uff56\uff45",
    "eve\u00a0",
    "eve\ufe0f",
    "\u2066eve\u2069",
]


@pytest.mark.parametrize(
    ("sent", "spelt"),
    [(name, "eve") for name in EVES]
    + [
        ("Zoë", "Zoë"),
        ("Zoe\u0308", "Zoë"),
        ("a \t b", "a b"),
        ("李雷", "李雷"),
        ("o'neil@x.org", "o'neil@x.org"),
    ],
)
def test_a_name_has_one_spelling(sent: str, spelt: str) -> None:
    assert normalised(sent) == spelt


@pytest.mark.parametrize("name", [" ", "\u200b", "\u3164", "a\x07b", "a\x00b", "\ufdfa" * 20])
def test_a_name_that_nobody_could_read_is_refused(client: httpx.Client, name: str) -> None:
    item = {"record": RECORD, "label": "normal", "analyst": name}
    assert mistakes(label(client, item)) == [(0, "invalid-label", "analyst")]


def test_quarantine_holds_whatever_way_the_name_is_spelt(client: httpx.Client) -> None:
    first = {"record": RECORD, "label": "anomaly"}
    label(client, *({**first, "analyst": name} for name in EVES))
    (told,) = client.get("/analysts").json()["analysts"]
    assert (told["analyst"], told["labels"]) == ("eve", len(EVES))
    client.post("/analysts/%20Eve/quarantine", json={"why": "x"})  # somebody else
    quarantined = client.post("/analysts/ev%E2%80%8Be/quarantine", json={"why": "poison"})
    assert quarantined.json()["name"] == "eve"
    assert "matched_feedback" not in score(client, RECORD)
    for name in EVES:
        receipt = label(client, {**first, "analyst": name}).json()["receipts"][0]
        assert receipt["status"] == "quarantined"
    assert client.delete("/analysts/%20eve/quarantine").json()["name"] == "eve"
    assert client.post("/forget", json={"analyst": "eve\u200b"}).json()["labels"] == 2 * len(EVES)


@pytest.fixture
def keys(settings: Settings, ledger: Ledger) -> dict[str, str]:
    """Secrets by the name of the key."""
    roles = {"ann's": ["feedback"], "bob's": ["feedback"], "lead's": ["feedback", "operate"]}
    with ledger.write() as connection:
        return {
            name: keyring.create(connection, name.replace("'", " "), given, "test")[0]
            for name, given in roles.items()
        }


@pytest.fixture
def service(settings: Settings, keys: dict[str, str]) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        yield client


def test_a_label_is_taken_back_by_the_key_that_brought_it_or_by_one_that_operates(
    service: httpx.Client, keys: dict[str, str]
) -> None:
    def as_(key: str) -> httpx.Client:
        service.headers["X-API-Key"] = keys[key]
        return service

    item = {"record": RECORD, "label": "anomaly", "analyst": "ann"}
    first, second = (stored(label(as_("ann's"), item))[0] for _ in range(2))
    for claimed in ("bob", "ann"):
        refused = label(as_("bob's"), {"retract": first, "analyst": claimed})
        assert mistakes(refused) == [(0, "foreign-label", "retract")]
    assert as_("ann's").get(f"/feedback/{first}").json()["status"] == "superseded"
    stored(label(as_("ann's"), {"retract": first}))
    stored(label(as_("lead's"), {"retract": second}))
    assert as_("ann's").get(f"/feedback/{second}").json()["status"] == "retracted"

"""Pages offer the models that somebody sees, where there are several, and keep to the chosen one."""

import re

import httpx
import pytest

from nearnorm.service.access import keyring
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.settings import Settings
from tests.service.lines.test_two_lines import OTHER


@pytest.fixture
def secrets(settings: Settings) -> dict[str, str]:
    """Of keys, by what they are bound to."""
    ledger = Ledger.at(None, settings.home)
    migrate(ledger)
    with ledger.write() as connection:
        found = {
            name: keyring.create(connection, name, ["feedback", "operate"], "test", lines=lines)[0]
            for name, lines in (("all", EVERY_LINE), ("one", SeenLines.of([OTHER])))
        }
    ledger.close()
    return found


def offered(text: str) -> list[str]:
    return re.findall(r"<option(?: selected)?>([^<]+)</option>", text)


def test_who_sees_several_models_chooses_one_on_every_page_and_keeps_it(
    secrets: dict[str, str], client: httpx.Client
) -> None:
    headers = {"X-API-Key": secrets["all"]}
    for path in ("/loop", "/team", "/budget", "/review"):
        page = client.get(path, params={"model": OTHER}, headers=headers).text
        assert offered(page) == ["default", OTHER]
        assert f"<option selected>{OTHER}</option>" in page
        assert f'href="/groups?model={OTHER}"' in page
    assert 'href="/groups"' in client.get("/loop", headers=headers).text


def test_who_is_bound_to_one_model_is_offered_no_other(secrets: dict[str, str], client: httpx.Client) -> None:
    headers = {"X-API-Key": secrets["one"]}
    page = client.get("/loop", params={"model": OTHER}, headers=headers)
    assert page.status_code == 200
    assert offered(page.text) == []
    assert "default" not in re.sub(r"<style.*?</style>", "", page.text)

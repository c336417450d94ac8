"""`nearnorm apply` and `nearnorm export-config` on both databases, and beside a running service."""

import re
import sys
from pathlib import Path

import httpx
import pytest

from nearnorm.service.access import keyring
from nearnorm.service.app import create_app
from nearnorm.service.configuration.champions import ground_of, read_champions
from nearnorm.service.feedback import analysts
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import audit_trail, keys
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies
from tests.service.asking import RECORD, label
from tests.service.commands import Command
from tests.service.running import serving
from tests.service.waiting import until

PAGE = (Path(__file__).parents[3] / "docs" / "config-file.md").read_text()


def shown(out: str) -> list[list[str]]:
    """The cells of the table."""
    return [re.split(r"  +", line.strip()) for line in out.splitlines() if "  " in line]


def actions(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.read() as connection:
        return [
            (e["action"], e["subject"]) for e in reversed(audit_trail.page(connection, 100, None, EVERY_LINE))
        ]


def make_key(ledger: Ledger, name: str, quota: Quota) -> str:
    with ledger.write() as connection:
        return keyring.create(connection, name, ["score"], "test", quota)[1].key_id


def budget_of(ledger: Ledger, settings: Settings) -> str:
    champions = read_champions(settings.open_store())
    with ledger.read() as connection:
        return policies.at(connection, ground_of(connection, champions, "default"), None).budget


def quota_of(ledger: Ledger, name: str) -> Quota:
    with ledger.read() as connection:
        return next(key.quota for key in keys.every(connection) if key.name == name)


def test_the_example_of_the_page_is_shown_then_made_then_in_force_and_then_changes_nothing(
    settings: Settings, ledger: Ledger, nearnorm: Command, file: Path
) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    file.write_text(example[1])
    key_id = make_key(ledger, "shop", Quota(requests_per_second=5, rows_per_second=10))
    with serving(create_app(settings.model_copy(update={"allow_anonymous": True}))) as client:
        for analyst in ("eve", "bob", "ann"):
            assert label(client, {"record": RECORD, "label": "normal", "analyst": analyst}).status_code == 201
        client.post("/analysts/bob/quarantine", json={"why": "a mistake"})
        before = actions(ledger)

        dry = nearnorm("apply", "-f", file, "--dry-run")
        assert (dry.code, dry.err) == (3, "")
        default = client.get("/policy").json()["policy"]["budget"]
        assert shown(dry.out) == [
            ["what", "now", "then"],
            ["policy.default.budget", f'"{default}" (default)', '"2% of normal"'],
            ["policy.default.suppress_confirmed_normals", "false (default)", "true"],
            ["policy.default.suppress_days", "30.0 (default)", "14.0"],
            ["keys.shop.rows_per_second", "10", "2000"],
            ["keys.shop.requests_per_second", "5", "-"],
            ["keys.shop.rows_per_request", "-", "1000"],
            ["models.payments-fr.rows_per_second", "-", "5000"],
            ["models.payments-fr.priority", "1", "3"],
            ["quarantine.analysts.eve", "false", '"left; her account was used"'],
            ["quarantine.analysts.bob", '"a mistake"', "false"],
            ["quarantine.models.default.analysts.ann", "false", '"new here"'],
        ]
        assert "quarantine.analysts.eve: what was said of 1 records counts no more" in dry.out
        assert (
            "- models.payments-fr: no model is named so yet, so it waits for one: there is default" in dry.out
        )
        assert actions(ledger) == before  # nothing was done yet

        made = nearnorm("apply", "-f", file, "--yes")
        assert (made.code, made.err) == (0, "")
        assert made.out.startswith(dry.out)
        until(lambda: client.get("/policy").json()["policy"]["budget"] == "2% of normal")
        _agrees(client)
        assert quota_of(ledger, "shop") == Quota(rows_per_second=2000, rows_per_request=1000)
        assert actions(ledger)[len(before) :] == [
            ("policy.put", "default"),
            ("key.limit", key_id),
            ("line.limit", "payments-fr"),
            ("line.priority", "payments-fr"),
            ("quarantine", "analyst eve"),
            ("quarantine.release", "analyst bob"),
            ("quarantine", "analyst ann"),
            ("apply", "nearnorm.toml"),
        ]
        again = actions(ledger)
        for option in ("--yes", "--dry-run"):
            assert nearnorm("apply", "-f", file, option).out == "nothing differs\n"
        assert actions(ledger) == again

        file.write_text('[quarantine.analysts]\neve = "twice"\n" eve" = false\n')
        twice = nearnorm("apply", "-f", file, "--yes")
        assert twice.code == 2
        assert 'quarantine.analysts." eve": is the same as quarantine.analysts.eve: keep one' in twice.err


def _agrees(client: httpx.Client) -> None:
    policy = client.get("/policy").json()["policy"]
    assert (policy["suppress_confirmed_normals"], policy["suppress_days"]) == (True, 14)
    assert policy["by"].startswith("cli")
    held = [(q["name"], q.get("model")) for q in client.get("/analysts").json()["quarantine"]]
    assert held == [("eve", None), ("ann", "default")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[policy.defalt]\nbudget = "1%"',
            "policy.defalt: no model of this name has a champion: did you",
        ),
        ('[policy.default]\nbudget = "many"', "policy.default.budget: 'many' is no budget: write "),
        ('[policy.default]\nbudget = "0.0001%"', "policy.default: "),
        ("[policy.default]\nsuppress_days = nan", "policy.default: suppress_days: give more than 0"),
        (
            "[keys.shap]\nrows_per_second = 1",
            "keys.shap: no active API key has this name, and `nearnorm keys ",
        ),
        (
            '[quarantine.analysts]\neve = "poison"',
            "quarantine.analysts.eve: no label was ever sent by",
        ),
        ('[models."a b"]\nrows_per_second = 1', "models.\"a b\": 'a b' cannot be a model's name"),
        ('[models."a b"]\npriority = 2', "models.\"a b\": 'a b' cannot be a model's name"),
        (
            '[quarantine.models.other.analysts]\neve = "poison"',
            "quarantine.models.other.analysts.eve: no label was ever sent by analyst 'eve' for model 'other'",
        ),
        ('[quarantine.keys]\nshop = " "', "quarantine.keys.shop: why: give a reason"),
        ('[quarantine.analysts]\n"a\\u0000b" = false', "a value cannot be stored"),
    ],
)
def test_what_does_not_fit_the_ledger_is_told_by_its_key_and_nothing_is_changed(
    settings: Settings, ledger: Ledger, nearnorm: Command, file: Path, text: str, told: str
) -> None:
    make_key(ledger, "shop", Quota())
    before = actions(ledger)
    if "[policy" not in text:
        text = '[policy.default]\nbudget = "2%"\n' + text  # which is good, and first
    file.write_text(text)
    ended = nearnorm("apply", "-f", file, "--yes")
    if "\\u0000" in text and ended.code == 0:
        assert ledger.is_sqlite  # it can hold one, and nobody of that name is in quarantine
        return
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"nearnorm: {file}: {told}")
    assert ended.err.count("\n") == 1
    assert actions(ledger) == before


def test_nobody_to_ask_is_a_mistake_no_is_no_and_yes_is_yes(
    settings: Settings, ledger: Ledger, nearnorm: Command, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('[policy.default]\nbudget = "2%"\n')
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    alone = nearnorm("apply", "-f", file)
    assert alone.code == 2
    assert "give --yes" in alone.err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, code, budget in ((False, 1, None), (True, 0, "2%")):
        monkeypatch.setattr("typer.confirm", lambda _, answer=answer: answer)
        assert nearnorm("apply", "-f", file).code == code
        assert (budget_of(ledger, settings) == "2%") is (budget is not None)


def test_what_somebody_changed_while_it_was_asked_is_not_written_over(
    settings: Settings, ledger: Ledger, nearnorm: Command, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(ledger, "shop", Quota())
    file.write_text('[policy.default]\nbudget = "2%"\n[keys.shop]\nrows_per_second = 7\n')

    def meanwhile(_: str) -> bool:
        with ledger.write() as connection:
            keyring.limit(connection, "shop", Quota(rows_per_second=3), "somebody")
        return True

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", meanwhile)
    ended = nearnorm("apply", "-f", file)
    assert (ended.code, "changed meanwhile" in ended.err) == (2, True)
    assert quota_of(ledger, "shop") == Quota(rows_per_second=3)
    assert budget_of(ledger, settings) != "2%"


def test_a_budget_that_means_the_same_is_no_change(ledger: Ledger, nearnorm: Command, file: Path) -> None:
    file.write_text('[policy.default]\nbudget = "2%"\n')
    assert nearnorm("apply", "-f", file, "--yes").code == 0
    file.write_text('[policy.default]\nbudget = " 2.0 %  of NORMAL traffic "\n')
    assert nearnorm("apply", "-f", file, "--dry-run").code == 0


def test_the_key_in_quarantine_is_exported_and_no_secret_is(
    settings: Settings, ledger: Ledger, nearnorm: Command, file: Path
) -> None:
    with serving(create_app(settings)) as client:
        label(client, {"record": RECORD, "label": "normal"})
    with ledger.write() as connection:
        secret, key = keyring.create(connection, "desk", ["feedback"], "test", Quota(requests_per_second=9))
        keyring.revoke(connection, keyring.create(connection, "old", ["score"], "test")[1].key_id, "test")
        analysts.put(connection, "key", "anonymous", "a flood", "test", Rule.of(settings))
        analysts.put(connection, "key", "anonymous", "here too", "test", Rule.of(settings), "default")
    ended = nearnorm("export-config")
    assert ended.code == 0
    file.write_text(ended.out)
    assert '[quarantine.keys]\nanonymous = "a flood"\n' in ended.out
    assert '[quarantine.models.default.keys]\nanonymous = "here too"\n' in ended.out
    assert "[keys.desk]  # feedback\n" in ended.out
    assert "old" not in ended.out
    assert secret not in ended.out
    assert key.digest not in ended.out
    again = nearnorm("apply", "-f", file, "--dry-run")
    assert (again.out, again.err) == ("nothing differs\n", "")
    with ledger.write() as connection:
        keyring.limit(connection, "desk", Quota(), "test")
        quarantine.remove(connection, "key", "anonymous")
        quarantine.remove(connection, "key", "anonymous", "default")
    assert nearnorm("apply", "-f", file, "--dry-run").code == 3
    assert nearnorm("apply", "-f", file, "--yes").code == 0
    assert nearnorm("export-config").out == ended.out


def test_what_commands_give_a_model_is_exported_and_a_bad_name_is_told(
    ledger: Ledger, nearnorm: Command
) -> None:
    assert nearnorm("models", "limit", "--model", "a", "--rows-per-second", "3").code == 0
    assert nearnorm("models", "priority", "4", "--model", "a").code == 0
    assert "[models.a]\nrows_per_second = 3\npriority = 4\n" in nearnorm("export-config").out
    assert actions(ledger) == [("line.limit", "a"), ("line.priority", "a")]
    for given in (["limit", "--model", "a b"], ["priority", "4", "--model", "a b"]):
        ended = nearnorm("models", *given)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("nearnorm: --model: 'a b' cannot be a model's name")

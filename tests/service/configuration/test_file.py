"""Mistakes in the file: one line with file, line or key, and mend."""

from pathlib import Path

import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.service.configuration.file import LARGEST, alike, read
from nearnorm.service.ledger.quota import Quota


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[policy.default]\nbudget = \n", "is not TOML: Invalid value (at line 2, column 10)"),
        ("[polcy.default]", ": unknown key polcy: did you mean policy?"),
        ("[zebra]", ": unknown key zebra: known are policy, keys, models, "),
        ('[policy.default]\nbugdet = "1%"', ": unknown key policy.default.bugdet: did you mean budget?"),
        ('[policy."a b"]\nmodel = "x"', ': unknown key policy."a b".model: known are budget, '),
        (
            "[keys.shop]\nrows_per_secnd = 1",
            ": unknown key keys.shop.rows_per_secnd: did you mean rows_",
        ),
        ("[quarantine]\nanalyst = {}", ": unknown key quarantine.analyst: did you mean analysts?"),
        ("policy = 1", ": policy: is a table: write [policy]"),
        ("[keys]\nshop = 5", ": keys.shop: is a table: write [keys.shop]"),
        ("[policy.default]\nbudget = 5", ": policy.default.budget: Expected `str`, got `int`"),
        (
            "[policy.default]\nsuppress_days = true",
            ": policy.default.suppress_days: Expected `float`",
        ),
        (
            "[keys.shop]\nrows_per_second = true",
            ": keys.shop.rows_per_second: Expected `int`, got `bo",
        ),
        (
            "[keys.shop]\nrows_per_second = 1.5",
            ": keys.shop.rows_per_second: Expected `int`, got `fl",
        ),
        ("[keys.shop]\nrows_per_second = 0", ": keys.shop.rows_per_second: give 1 to "),
        (f"[keys.shop]\nrows_per_second = {2**63}", ": keys.shop.rows_per_second: give 1 to "),
        (
            "[quarantine.analysts]\neve = true",
            ": quarantine.analysts.eve: give the reason as a text, or",
        ),
        ("[models]\na = 1", ": models.a: is a table: write [models.a]"),
        ("[models.a]\nbytes_per_request = 1", ": unknown key models.a.bytes_per_request: "),
        ("[models.a]\nrows_per_second = 0", ": models.a.rows_per_second: give 1 to "),
        ("[models.a]\npriority = 101", ": models.a.priority: give a whole number, 1 to 100"),
        ("[models.a]\npriority = true", ": models.a.priority: give a whole number, 1 to 100"),
        ("[quarantine.models]\na = 1", ": quarantine.models.a: is a table: write [quarantine.models.a]"),
        ("[quarantine.models.a.key]\nb = false", ": unknown key quarantine.models.a.key: did you mean keys?"),
        ("[quarantine.models.a.keys]\nb = true", ": quarantine.models.a.keys.b: give the reason as"),
        (
            'gate = "auto"',
            ": gate is a setting of the process, which no file changes while it runs: ",
        ),
        ("[[webhooks]]\nurl = 'https://x'", ": webhooks: Slack's addresses and PagerDuty's keys are "),
        (
            "[retention]\ndays = 3",
            "NEARNORM_EVENT_ROWS, NEARNORM_EVENT_BYTES, NEARNORM_EVENT_DAYS and restart",
        ),
        ("a = " + "[" * 5000, " is nested too deeply: tables are policy, keys, models, quarantine"),
        ("[keys.shop]\nrows_per_second = " + "9" * 5000, " is not TOML: Exceeds the limit (4300 digits)"),
        ("#" * (LARGEST + 1), " is larger than 1,048,576 bytes: it is no configuration file"),
        (b"[policy.default]\nbudget = '\xe9'", " is not UTF-8 (at line 2): save it as UTF-8"),
    ],
)
def test_a_mistake_names_where_it_is_and_its_mend(tmp_path: Path, text: str | bytes, told: str) -> None:
    file = tmp_path / "nearnorm.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as raised:
        read(file)
    assert str(raised.value).startswith(str(file))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_a_models_table_is_all_of_its_limits_and_its_priority(tmp_path: Path) -> None:
    file = tmp_path / "nearnorm.toml"
    file.write_text("[models.a]\nrows_per_request = 3\n[models.b]\npriority = 2")
    wanted = read(file)
    assert wanted.line_quotas == {"a": Quota(rows_per_request=3), "b": Quota()}
    assert wanted.priorities == {"a": 1, "b": 2}


def test_a_key_s_table_is_its_whole_quota_and_an_empty_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "nearnorm.toml"
    file.write_bytes(b"\xef\xbb\xbf[keys.shop]\r\nrows_per_second = 3\r\n[keys.desk]\r\n")
    assert read(file).quotas == {"shop": Quota(rows_per_second=3), "desk": Quota()}
    file.write_text("")
    wanted = read(file)
    assert [wanted.policies, wanted.quotas, wanted.quarantine] == [{}, {}, {}]


def test_of_many_names_a_mistake_tells_some() -> None:
    told = alike("zzz", [f"payments-{number:04}" for number in range(1_000)])
    assert told.endswith("payments-0019 and 980 more")

"""Mistakes in the file: one line with file, line or key, and mend."""

from pathlib import Path

import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.service.configuration.file import LARGEST, read
from nearnorm.service.ledger.quota import Quota


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[policy.default]\nbudget = \n", "is not TOML: Invalid value (at line 2, column 10)"),
        ("[polcy.default]", ": unknown key polcy: did you mean policy?"),
        ("[zebra]", ": unknown key zebra: known are policy, keys, quarantine"),
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
        (
            'gate = "auto"',
            ": gate is a setting of the process, which no file changes while it runs: ",
        ),
        ("[[webhooks]]\nurl = 'https://x'", ": webhooks: Slack's addresses and PagerDuty's keys are "),
        (
            "[retention]\ndays = 3",
            "NEARNORM_EVENT_ROWS, NEARNORM_EVENT_BYTES, NEARNORM_EVENT_DAYS and restart",
        ),
        ("a = " + "[" * 5000, " is nested too deeply: tables are policy, keys, quarantine"),
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


def test_a_key_s_table_is_its_whole_quota_and_an_empty_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "nearnorm.toml"
    file.write_bytes(b"\xef\xbb\xbf[keys.shop]\r\nrows_per_second = 3\r\n[keys.desk]\r\n")
    assert read(file).quotas == {"shop": Quota(rows_per_second=3), "desk": Quota()}
    file.write_text("")
    wanted = read(file)
    assert [wanted.policies, wanted.quotas, wanted.quarantine] == [{}, {}, {}]

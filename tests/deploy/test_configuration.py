"""Settings, their page, and every file that sets one."""

import re
from pathlib import Path

import pytest

from nearnorm.service.cli.settings_page import descriptions, page
from nearnorm.service.settings import PREFIX, Settings
from tests.deploy.dockerfile import ROOT


def test_every_setting_is_described() -> None:
    assert set(Settings.model_fields) == set(descriptions())


def test_the_page_is_what_the_settings_say() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == page(), "run `make docs`"


SHIPPED = [ROOT / "Dockerfile", *sorted(p for p in (ROOT / "deploy").rglob("*.yaml"))]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_shipped_sets_only_what_there_is(file: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"NEARNORM_[A-Z_]+", file.read_text())) <= known

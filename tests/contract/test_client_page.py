"""docs/client.md's blocks are run as they stand, in their order, against a service with the starter model."""

import re
from pathlib import Path

import pytest

from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.running import serving

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()


def test_the_pages_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 6
    with serving(create_app(Settings(home=tmp_path))) as http:
        monkeypatch.setenv("NEARNORM_URL", str(http.base_url))
        names: dict[str, object] = {}
        for block in blocks:
            exec(block, names)  # noqa: S102 - the page's own
        names["client"].close()  # type: ignore[attr-defined]


def test_every_method_is_on_the_page() -> None:
    import nearnorm

    methods = {name for name in vars(nearnorm.Client) if not name.startswith("_")}
    assert {name for name in methods if f"`{name}" not in PAGE and f"client.{name}(" not in PAGE} == set()

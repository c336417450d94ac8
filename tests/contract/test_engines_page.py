"""docs/engines.md's blocks are run as they stand, in their order, with the starter model as `my-model`."""

import re
from pathlib import Path

import pytest

from nearnorm import models

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"


def test_the_pages_blocks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").symlink_to(Path(models.__file__).parent / "starter")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)  # noqa: S102 - the page's own
    assert "'id': 'b', 'score': 0.9" in capsys.readouterr().out

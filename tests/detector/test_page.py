"""docs/notebook.md's examples run as they stand, one after the other."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "notebook.md"
SHORT = {
    "NearnormDetector(contamination=0.02)": "NearnormDetector(0.02, joint_epochs=1, members=1, trees=0)",
    "StratifiedKFold(3,": "StratifiedKFold(2,",
    "NearnormDetector(), {": "NearnormDetector(joint_epochs=1, members=1, forests=1), {",
    "[0, 40]": "[0, 1]",
}
"""Fits cut short; the rest runs to the letter."""


@pytest.mark.filterwarnings("ignore::nearnorm.detector.mistakes.NearnormWarning")
def test_the_pages_examples_run(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(rows, tmp_path / "payments.parquet")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    for full, short in SHORT.items():
        assert full in code
        code = code.replace(full, short)
    space: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), space)  # noqa: S102
    assert (tmp_path / "my-model" / "report.html").exists()
    assert len(space["strangest"]) > 0  # type: ignore[arg-type]

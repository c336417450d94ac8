"""The files through which a worker and a training speak."""

from pathlib import Path

import msgspec
import pytest

from nearnorm.models.errors import DataError
from nearnorm.models.retraining import (
    LearntRecord,
    Placement,
    TrafficRecord,
    TrainingRequest,
    TrainingResult,
    read_lines,
    read_part,
)


def test_a_request_and_a_result_are_read_as_they_were_written(tmp_path: Path) -> None:
    request = TrainingRequest(champion="/models/a", version="v", budget=0.02, source="s3://b/base.parquet")
    learnt = LearntRecord("d", Placement(0.9, 98.0, False), Placement(0.8, 99.5, True), None)
    result = TrainingResult(True, ["because"], {"confirmed": 1}, "v", "d", 7, [learnt], [])
    for part in (request, result):
        (tmp_path / "part.json").write_bytes(msgspec.json.encode(part))
        assert read_part(tmp_path / "part.json", type(part)) == part


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"champion": "a", "version": "v"}', "missing required field `budget`"),
        ('{"champion": "a", "version": "v", "budget": 0.1, "buget": 1}', "unknown field `buget`"),
        ('{"champion": ', "truncated"),
    ],
)
def test_what_is_no_request_is_told_with_file_and_field(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"request\.json holds no TrainingRequest .*{problem}"):
        read_part(path, TrainingRequest)


def test_a_line_break_of_unicode_in_a_value_ends_no_line(tmp_path: Path) -> None:
    """The ledger writes JSON without escapes, where these are values as any other."""
    path = tmp_path / "traffic.jsonl"
    lines = [TrafficRecord({"note": f"one{mark}two"}) for mark in "\u2028\u2029\x85\n"]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    assert read_lines(path, TrafficRecord) == lines


def test_a_line_that_is_no_record_is_told_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_bytes(b'{"record": {"x": 1}}\n{"record": 1}\n')
    with pytest.raises(DataError, match=r"traffic\.jsonl holds no TrafficRecord"):
        read_lines(path, TrafficRecord)

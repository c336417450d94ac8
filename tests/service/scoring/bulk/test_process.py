"""The bulk process takes no more memory than it may, and survives what it is sent."""

import subprocess
import sys
from pathlib import Path

import pytest

from nearnorm.service.scoring.bulk.process import MOST_MEMORY, most_memory

_READ = """
import json, resource
from nearnorm.service.scoring.bulk.messages import ReadBody, Schema, as_array
from nearnorm.service.scoring.bulk.process import BulkWork
from tests.service.bundles import PAYMENTS
from tests.service.scoring.test_endpoint import RECORD

schema = Schema(PAYMENTS.model_dump_json(), 10_000)
work = BulkWork()

def body(value, rows):
    return as_array(json.dumps({"records": [RECORD | {"country": value}] * rows}).encode())

def read(sent):
    return work.reply(ReadBody(None, "default", None, {"default": "v"}, {"v": schema}), [sent])[0]

small, large = body("DE", 1), body("x" * 5_000, 6_000)
read(small)
held = int(open("/proc/self/statm").read().split()[5]) * 4096
resource.setrlimit(resource.RLIMIT_DATA, (held + 2**25, resource.RLIM_INFINITY))
for sent in (large, small):
    told = read(sent)
    print(type(told).__name__, getattr(told, "kind", ""))
"""


def test_a_body_that_takes_more_memory_than_one_may_is_refused_and_the_next_one_read() -> None:
    found = subprocess.run([sys.executable, "-c", _READ], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split("\n")[:2] == ["Refused BodyTooLarge", "RowsRead "]


@pytest.mark.parametrize(
    ("told", "most"),
    [("1073741824\n", 2**29), ("max\n", MOST_MEMORY), (None, MOST_MEMORY), (f"{2**40}", MOST_MEMORY)],
)
def test_in_a_container_half_of_its_memory_is_the_most(tmp_path: Path, told: str | None, most: int) -> None:
    limit = tmp_path / "memory.max"
    if told is not None:
        limit.write_text(told)
    assert most_memory(limit) == most

"""Where the data sets of the benchmarks lie: the folder BENCH_DATA, which holds `data`, `data2` and `bench`.

- data: Parquet files as adbench/NAME.parquet and NAME/data.parquet, labels in the column `label`.
- data2: more of them, NAME/data.parquet.
- bench: wsad_data.py, the protocol of splits, and results/*.jsonl, the peers' recorded results.
"""

import os
import sys
from pathlib import Path


def bench_data(part: str) -> Path | None:
    """The folder of one part; None, after a line that says why, where it is not there."""
    root = os.environ.get("BENCH_DATA")
    if root is None:
        reason = "BENCH_DATA is not set: it names the folder that holds data, data2 and bench"
    elif not (folder := Path(root) / part).is_dir():
        reason = f"BENCH_DATA is {root}, which has no folder {part}"
    else:
        return folder
    print(f"data sets skipped: {reason}", file=sys.stderr)
    return None

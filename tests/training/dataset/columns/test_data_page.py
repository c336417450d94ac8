"""docs/data.md: what becomes of what."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nearnorm.models.data.schema import Kind
from nearnorm.training.dataset.columns.infer import infer_schema

PAGE = (Path(__file__).parents[4] / "docs/data.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| (.*) \| `(\w+)` \| (yes|no) \|$", PAGE, flags=re.M)
ROWS = 300
CARDS = ["4111111111111111", "5500005555555559", "4012888888881881", "4222222222222"]
rng = np.random.default_rng(0)

COLUMNS: dict[str, list[Any]] = {
    "`1.5, 20.25, 3.0`": rng.normal(size=ROWS).tolist(),
    "`18, NULL, 44`": ["18", "NULL", "44"],
    "`1.5, 2.5, oops`, more numbers than words, and few words": ["1.5", "2.5", "oops"],
    "`true, false`": [True, False],
    '`Y, N` (`kind = "boolean"` reads them, `yes`, `no`, `t` and `f` as true and false)': ["Y", "N"],
    "`DE, FR, DE`": ["DE", "FR", "DE"],
    "`DE, NA, FR`": ["DE", "NA", "FR"],
    "`01067, 80331, 10115`": ["01067", "80331", "10115"],
    "`5411, 5812, 7995`": [5411, 5812, 7995],
    "`True, False, unknown`": ["True", "False", "unknown"],
    "`1, 2, 3` counting the rows": list(range(1, ROWS + 1)),
    "`u-1, u-2, u-3` nearly all different": [f"u-{i}" for i in range(ROWS)],
    "`00000017, 00000018` nearly all different": [f"{17 + i * i:08}" for i in range(ROWS)],
    "`2026-01`, `2026-W05`, `Q1 2026`, `Jan 2026`, `202601`, which do not come again": ["2026-01", "Q1 2026"],
    "`260131`, `31012026` as numbers": [
        10_000 * (21 + i % 5) + 100 * (i % 12 + 1) + i % 28 + 1 for i in range(60)
    ],
    "`mei@bank.example`": ["mei@bank.example", "ola@bank.example"],
    "`2026-01-31, 2026-02-01T10:00:00Z`": ["2026-01-31", "2026-02-01T10:00:00Z"],
    "`31.01.2026`, `31-Jan-26`, `Jan 31, 2026`, `09:14:00`": ["31.01.2026 10:00", "01.02.2026 11:00"],
    "`01/02/2026`, where day and month could change places": ["01/02/2026", "03/04/2026"],
    "`31/Jan/2026:10:00:00 +0100`, `Sat, 31 Jan 2026 10:00:00 +0100`": [
        "31/Jan/2026:10:00:00 +0100",
        "01/Feb/2026:11:00:00 +0100",
    ],
    "`20260131T100000Z`, `Sat Jan 31 10:00:00 2026`": ["20260131T100000Z", "20260201T110000Z"],
    "`1234567890123456789`, whole numbers that all have sixteen digits and more": [
        1_234_567_890_123_456_789 + 7 * i for i in range(10)
    ],
    "`31.01.2026, Jan 31, 2026`, not all of one form": ["31.01.2026", "Jan 31, 2026"],
    "sentences, nearly all different": [f"paid for order {i} at last" for i in range(ROWS)],
    "one value throughout": ["EUR"],
    "lists, structs, bytes": [[1]],
}


def with_check_digit(body: str) -> str:
    doubled = [sum(divmod(2 * int(d), 10)) for d in body[::-2]]
    return body + str(-(sum(doubled) + sum(map(int, body[-2::-2]))) % 10)


COLUMNS["`4111111111111111` with the check digit of cards"] = [
    with_check_digit(f"411111111111{i:03}") for i in range(60)
]


STAMPS = "`1769853600` under a name that ends in time, date, ts, at"
COLUMNS[STAMPS] = [1_769_853_600 + 60 * i for i in range(60)]
COLUMNS["`1769853600` under another"] = COLUMNS[STAMPS]
KEYS = "`25464979, 78952666` under a name that ends in id, key, nr"
COLUMNS[KEYS] = rng.integers(10**7, 10**8, 60).tolist()
NAMES = {STAMPS: "seen at", KEYS: "customerId"}


@pytest.mark.parametrize(("column", "kind", "warned"), LINES)
def test_a_column_becomes_what_the_page_says(column: str, kind: str, warned: str) -> None:
    values = COLUMNS[column] * (ROWS // len(COLUMNS[column]))
    array = pa.array(values)
    if pa.types.is_string(array.type):
        array = array.dictionary_encode()
    name = NAMES.get(column, "column")
    found = infer_schema(pa.table({"x": rng.normal(size=len(array)), name: array}), {})
    assert str(found.schema.features[1].kind) == kind
    assert bool(found.warnings) == (warned == "yes")


def test_the_page_names_every_kind_and_every_line_is_tried() -> None:
    assert {column for column, _, _ in LINES} == COLUMNS.keys()
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.M)) == {str(kind) for kind in Kind}

"""Many rows at once read as they do one by one."""

from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nearnorm.models.data.digest import record_digest, text_digest
from nearnorm.models.data.records import records
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope
from tests.service.bundles import PAYMENTS

ENCODER = Encoder(PAYMENTS, 100)
RECORD = st.fixed_dictionaries(
    {
        "amount": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.just(-0.0)),
        "channel": st.sampled_from(["web", "pigeon", "\0"]),
    },
    optional={
        "epoch": st.one_of(st.none(), st.integers(0, 2**40)),
        "new device": st.one_of(st.none(), st.booleans()),
        "country": st.one_of(st.none(), st.sampled_from(["DE", "XA", "nowhere", "-0.0", ""])),
    },
)


@given(st.lists(RECORD, min_size=1, max_size=20))
def test_many_rows_read_as_one_by_one(sent: list[dict[str, Any]]) -> None:
    encoded = ENCODER.encode(Envelope(records=list(sent)))
    assert len(encoded.rows) == len(sent)
    found = records(PAYMENTS, encoded.rows.numeric, encoded.rows.codes, encoded.unknown)
    single = [ENCODER.record(encoded, i) for i in range(len(sent))]
    assert found == single
    for one, other in zip(found, single, strict=True):
        assert {name: type(value) for name, value in one.items()} == {n: type(v) for n, v in other.items()}
        assert text_digest(msgspec.json.encode(one)) == record_digest(other)
    zeros = [value for record in found for value in record.values() if value == 0.0]
    assert not np.signbit(np.array(zeros, float)).any()


@given(st.dictionaries(st.text(), st.floats(allow_nan=False)))
def test_names_in_order_are_in_the_order_of_the_digest(record: dict[str, float]) -> None:
    ordered = {name: record[name] + 0.0 for name in sorted(record)}
    assert text_digest(msgspec.json.encode(ordered)) == record_digest(record)

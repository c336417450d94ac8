"""A column's name is the same however it was typed, on every way in."""

import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.spelling import spelled
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.scoring import arrow
from nearnorm.training.dataset.load import load

ONE, TWO = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))
PAIRS = [(ONE, TWO), (TWO, ONE)]


def encoder_of(name: str) -> Encoder:
    features = (Feature(name=name, kind=Kind.NUMERIC), Feature(name="other", kind=Kind.NUMERIC))
    return Encoder(FeatureSchema(features=features), max_rows=10)


def asked(encoder: Encoder, **body: Any) -> Encoded:
    return encoder.encode(encoder.decode(json.dumps(body).encode()))


@pytest.mark.parametrize(("known", "sent"), PAIRS)
def test_a_request_may_spell_it_in_another_of_unicodes_forms(known: str, sent: str) -> None:
    encoder, sink = encoder_of(known), io.BytesIO()
    table = pa.table({sent: [1.5], "other": [2.0], "more": [3.0]})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    for found in (
        asked(encoder, records=[{sent: 1.5, "other": 2}]),
        asked(encoder, columns={sent: [1.5], "other": [2]}),
        arrow.rows_of_stream(sink.getvalue(), encoder),
    ):
        np.testing.assert_array_equal(found.rows.numeric, [[1.5, 2.0]])
        assert not found.imputed
        assert not any(known in warning or sent in warning for warning in found.warnings)


def test_of_two_spellings_in_one_record_the_models_own_counts() -> None:
    found = asked(encoder_of(ONE), records=[{TWO: 7, ONE: 1.5, "other": 2}])
    np.testing.assert_array_equal(found.rows.numeric, [[1.5, 2.0]])
    assert len(found.warnings) == 1


@pytest.mark.parametrize(("known", "sent"), PAIRS)
def test_a_file_may_spell_it_in_another_form_than_the_model(known: str, sent: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{sent},other\n007,1\n", encoding="utf-8")
    table = read_table(str(tmp_path / "a.csv"), [known])
    assert table.column_names == [known, "other"]
    assert table.column(known).to_pylist() == ["007"]


def test_training_names_columns_in_one_form_and_finds_the_label_in_any(tmp_path: Path) -> None:
    rows = "".join(f"{n}.5,{'1' if n < 3 else ''}\n" for n in range(30))
    (tmp_path / "a.csv").write_text(f"{TWO},{TWO}!\n{rows}", encoding="utf-8")
    found = load(str(tmp_path / "a.csv"), f"{ONE}!")
    assert [feature.name for feature in found.schema.features] == [ONE]
    assert found.facts.anomalies == 3


@given(st.lists(st.text(max_size=4), unique=True), st.sets(st.text(max_size=4)))
def test_no_column_is_lost_by_its_spelling(names: list[str], known: set[str]) -> None:
    found = spelled(names, known)
    assert len(set(found)) == len(names)
    assert known & set(names) <= set(found)

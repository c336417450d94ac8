"""An answer pasted from its batch's rows is what would be written for the request alone."""

import json
from typing import Any

import msgspec
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.inference.engine import Engine
from nearnorm.service.metrics.counters import LineRows, ModelMeter
from nearnorm.service.records.encoded import Rows
from nearnorm.service.scoring.answer_parts import NOTHING, Remembered
from nearnorm.service.scoring.json_answer import answer, answered
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores

WHOLE = {"amount": 61.5, "epoch": 1.7e9, "new device": True, "country": "DE", "channel": "web"}
REQUESTS: list[dict[str, Any]] = [
    {"records": [WHOLE]},
    {"records": [WHOLE, WHOLE | {"amount": -1e9}, WHOLE]},
    {"records": [WHOLE, WHOLE | {"amount": "x"}]},
    {"records": [WHOLE | {"epoch": None}]},
    {"records": [WHOLE | {"country": "Atlantis"}]},
    {"records": [WHOLE | {"colour": "red"}]},
    {"records": [WHOLE], "ids": ["tx-1"]},
    {"records": [WHOLE], "explain": True},
    {"columns": {name: [value] for name, value in WHOLE.items()}},
]


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> LoadedModel:
    loaded = LoadedModel('a "name" with ü', bundle.manifest, Engine(bundle, "cpu"), 1000)
    loaded.meter, loaded.counted = ModelMeter(), LineRows()
    return loaded


def scored(model: LoadedModel, items: list[Rows]) -> list[Scores]:
    return model.split(items, model.run(items))


@pytest.mark.parametrize("noted", [NOTHING, Remembered({0: "01J"}, {})])
def test_every_answer_is_the_one_that_its_request_alone_would_get(
    model: LoadedModel, noted: Remembered
) -> None:
    requests = [model.encoder.decode(json.dumps(request).encode()) for request in REQUESTS]
    encoded = [model.encoder.encode(request) for request in requests]
    batch = scored(model, [each.rows for each in encoded])
    for request, rows, scores in zip(requests, encoded, batch, strict=True):
        expected = msgspec.json.encode(answer(model.facts, request, rows, scores, noted))
        assert answered(model.facts, request, rows, scores, noted) == expected


def test_rows_of_one_batch_are_written_once(model: LoadedModel) -> None:
    request = model.encoder.decode(json.dumps(REQUESTS[0]).encode())
    encoded = model.encoder.encode(request)
    first, second = scored(model, [encoded.rows, encoded.rows])
    assert first.batch.written is None
    answered(model.facts, request, encoded, first, NOTHING)
    written = first.batch.written
    answered(model.facts, request, encoded, second, NOTHING)
    assert second.batch.written is written is not None

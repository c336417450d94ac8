"""Trees that are looked up ask plain values what they were grown to ask of mapped ones."""

from typing import Literal

import numpy as np
import pytest
import torch

from nearnorm.training.method.forest.grown import GrownForest
from nearnorm.training.method.forest.trees import Trees
from nearnorm.training.method.inputs.preprocess import Preprocess


def made(transform: Literal["quantile", "minmax"]) -> tuple[Preprocess, torch.Tensor, torch.Tensor]:
    """A preprocess of numbers of every kind, missing ones and codes, and rows as its arguments."""
    rng = np.random.default_rng(0)
    rows = 3_000
    numeric = np.stack(
        [
            np.exp(4.0 * rng.normal(size=rows)),
            rng.integers(0, 5, rows).astype(float),
            np.full(rows, 3.0),
            1_700_000_000.0 + rng.permutation(rows),
            np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)),
            np.where(rng.random(rows) < 0.9, 0.0, rng.normal(size=rows)),
        ],
        axis=1,
    )
    codes = rng.integers(2, 5, size=(rows, 1))
    preprocess = Preprocess(numeric, codes, (5,), transform)
    return preprocess, torch.from_numpy(numeric), torch.from_numpy(codes)


@pytest.mark.parametrize("transform", ["quantile", "minmax"])
def test_plain_thresholds_part_rows_as_thresholds_of_the_input_do(
    transform: Literal["quantile", "minmax"],
) -> None:
    preprocess, numeric, codes = made(transform)
    mapped, plain = preprocess(numeric, codes), preprocess.plain_rows(numeric, codes)
    for column in range(preprocess.width):
        values = np.unique(mapped[:, column].numpy())
        between = 0.5 * (values[1:] + values[:-1])
        apart = np.diff(values) > 1e-5  # where float32 leaves room for a threshold
        asked = np.concatenate([[values[0] - 20.0, values[0] - 0.5], between[apart], [values[-1] + 20.0]])
        asked = asked.astype(np.float32)
        thresholds = preprocess.plain_thresholds(np.full(len(asked), column), asked)
        wanted = mapped[:, column : column + 1].numpy() > asked
        assert ((plain[:, column : column + 1].numpy() > thresholds) == wanted).all()


def test_a_forest_that_is_looked_up_answers_as_its_trees() -> None:
    rng = np.random.default_rng(1)
    trees = Trees(
        rng.integers(4, size=(20, 6)), rng.normal(size=(20, 6)).astype(np.float32), rng.normal(size=(20, 64))
    )
    rows = rng.normal(size=(500, 4)).astype(np.float32)
    found = GrownForest(trees)(torch.from_numpy(rows)).numpy()
    assert np.allclose(found, trees.logit(rows), atol=1e-4)

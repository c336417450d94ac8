"""What the head makes of evidence far from all that it was trained on."""

from dataclasses import replace

import numpy as np
import torch

from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.export.onnx_graph import assert_parity, to_onnx
from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.forest.trees import FOREST_SHARE
from nearnorm.training.method.heads import CONFIDENT, ForestHead
from tests.training.samples import quick, sample


def test_the_mlp_moves_a_logit_only_so_far_in_torch_and_in_the_graph() -> None:
    data, _ = sample()
    detector = fit(data, quick(), seed=0).detector
    assert isinstance(detector.head, ForestHead)
    out, mlp = detector.head.score.out, 1 - detector.head.share
    with torch.no_grad():
        out.weight.mul_(1e4)
    loud = torch.from_numpy(score(detector, data.numeric, data.codes).score).double().logit()
    assert_parity(to_onnx(detector), detector, data.numeric, data.codes)
    with torch.no_grad():
        out.weight.neg_()
    opposite = torch.from_numpy(score(detector, data.numeric, data.codes).score).double().logit()
    moved = (loud - opposite).abs()
    assert moved.max() <= 2 * mlp * CONFIDENT + 1e-3
    assert moved.median() > mlp * CONFIDENT


def test_trees_have_more_of_the_logit_where_labelled_anomalies_look_like_any_record_in_the_graph_too() -> (
    None
):
    data, truth = sample(labelled=10)
    unusual = fit(data, quick(), seed=0).detector
    any_record = np.flatnonzero(truth == 0)[:10]
    labels = np.full(len(truth), -1, dtype=np.int8)
    labels[any_record] = 1
    ordinary = fit(replace(data, labels=labels), quick(), seed=0).detector
    assert isinstance(unusual.head, ForestHead)
    assert isinstance(ordinary.head, ForestHead)
    assert unusual.head.share == FOREST_SHARE < ordinary.head.share
    assert_parity(to_onnx(ordinary), ordinary, data.numeric, data.codes)

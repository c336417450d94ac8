"""The detector as it is exported: the same answers, in few and large steps of standard operators.

It is written node by node: a tracer keeps the steps that suit torch. Weights that can be multiplied
beforehand are, and rows lie along the last axis, so that products and sums over members read memory
in order. Hidden layers and embeddings have one unit more, which is always 1: a bias is a column of
the next layer's weights. The exporter compares the answers with the detector's own
(export.assert_parity).

D slots, H hidden units, E the embedding, M members, K prototypes, W the head's width, N rows.
"""

import numpy as np
import onnx
import torch
from torch import Tensor

from nearnorm.training.export.forest import grown_logit, taught_logit
from nearnorm.training.export.graph import Graph
from nearnorm.training.export.inputs import slots
from nearnorm.training.method.cold_start import RankHead
from nearnorm.training.method.ensemble import SLOPE, MemberLinear
from nearnorm.training.method.heads import CONFIDENT, TINY, ForestHead, ScoreHead
from nearnorm.training.method.network import Detector

ROWS_FIRST = [1, 0]
OVER_SLOTS = np.array([0])


def fused(detector: Detector) -> onnx.ModelProto:
    """The graph of Detector.forward."""
    graph = Graph()
    groups = detector.preprocess.groups
    given = slots(graph, detector.preprocess)
    rows = given.input()
    raw = _encoded(graph, detector, rows)
    errors = _errors(graph, detector, rows, raw)
    z = _projected(graph, raw, detector) if detector.unit_sphere else raw
    squared = _squared_distance(graph, z, detector)
    similarity = graph.node("Reciprocal", graph.node("Add", squared, 1.0))
    error = graph.node("ReduceMean", errors, OVER_SLOTS, keepdims=1)
    nearest = graph.node("ReduceMax", similarity, OVER_SLOTS, keepdims=1)
    evidence = graph.node("Concat", error, nearest, axis=0)
    logit = _logit(graph, detector.head, z, evidence, rows)
    if detector.grown is not None:
        logit = grown_logit(graph, detector.grown, logit, given.plain())

    graph.node("Squeeze", graph.node("Sigmoid", logit), OVER_SLOTS, output="score")
    graph.node("Transpose", similarity, perm=ROWS_FIRST, output="similarity")
    graph.node("ArgMin", squared, axis=0, keepdims=0, output="prototype")
    least = graph.node("ReduceMin", squared, OVER_SLOTS, keepdims=0)
    graph.node("Sqrt", least, output="distance")
    graph.node("Squeeze", error, OVER_SLOTS, output="reconstruction_error")
    if torch.equal(groups, torch.eye(*groups.shape)):
        graph.node("Transpose", errors, perm=ROWS_FIRST, output="residual")
    else:
        graph.node("Gemm", errors, groups, transA=1, output="residual")
    numbers, columns = detector.preprocess.columns, groups.shape[1]
    return graph.model(
        {"numeric": (np.float64, numbers), "codes": (np.int64, columns - numbers)},
        {
            "score": (np.float32, None),
            "similarity": (np.float32, len(detector.prototypes)),
            "prototype": (np.int64, None),
            "distance": (np.float32, None),
            "reconstruction_error": (np.float32, None),
            "residual": (np.float32, columns),
        },
    )


def _encoded(graph: Graph, detector: Detector, rows: str) -> str:
    """Input [D, N] -> raw embeddings [M, E + 1, N]."""
    first, second = detector.encode_in, detector.encode_out
    members, _, hidden = first.weight.shape
    weight, bias = _left(first)
    weight = torch.cat([weight, torch.zeros_like(weight[:, :1])], 1)
    bias = torch.cat([bias, torch.ones_like(bias[:, :1])], 1)
    inner = _leaky(graph, graph.node("Gemm", weight.flatten(0, 1), rows, bias.reshape(-1, 1)))
    inner = graph.node("Reshape", inner, np.array([members, hidden + 1, -1]))
    return _leaky(graph, graph.node("MatMul", _keeping_one(_with_bias(second)), inner))


def _errors(graph: Graph, detector: Detector, rows: str, raw: str) -> str:
    """Input and raw embeddings -> SmoothL1 of the mean reconstruction, [D, N]."""
    opened = _leaky(graph, graph.node("MatMul", _keeping_one(_with_bias(detector.decode_in)), raw))
    weight = _with_bias(detector.decode_out)
    members, _, hidden = weight.shape
    opened = graph.node("Reshape", opened, np.array([members * hidden, -1]))
    mean = weight.transpose(0, 1).flatten(1) / members
    if detector.bounded_input:
        rebuilt = _leaky(graph, graph.node("MatMul", mean, opened))
        error = graph.node("Sub", rows, rebuilt)
    else:
        error = graph.node("Gemm", -mean, opened, rows)
    # c (e - c / 2) with c = e cut at ±1: as losses.huber, for errors of both signs
    cut = graph.node("Clip", error, -1.0, 1.0)
    return graph.node("Mul", cut, graph.node("Sub", error, graph.node("Mul", cut, 0.5)))


def _projected(graph: Graph, raw: str, detector: Detector) -> str:
    """Each member's embedding over its length; the unit that is 1 over itself."""
    size = detector.centres.shape[2]
    sums = torch.zeros(size + 1, size + 1)
    sums[:size, :size] = 1.0
    sums[size, size] = 1.0
    squares = graph.node("MatMul", sums, graph.node("Mul", raw, raw))
    return graph.node("Div", raw, graph.node("Max", graph.node("Sqrt", squares), 1e-12))


def _squared_distance(graph: Graph, z: str, detector: Detector) -> str:
    """||e||² - 2 e p + ||p||² with e = z / sqrt(M), the scale taken into the constants: [K, N]."""
    members, _, size = detector.centres.shape
    prototypes = detector.prototypes.detach()
    towards = torch.zeros(len(prototypes), members, size + 1)
    towards[:, :, :size] = -2.0 * members**-0.5 * prototypes.reshape(-1, members, size)
    towards[:, 0, size] = prototypes.square().sum(1)
    own = torch.zeros_like(towards)
    own[:, :, :size] = 1.0 / members
    joined = graph.node("Reshape", z, np.array([members * (size + 1), -1]))
    products = graph.node("Gemm", towards.flatten(1), joined)
    return graph.node("Relu", graph.node("Gemm", own.flatten(1), graph.node("Mul", joined, joined), products))


def _logit(graph: Graph, head: ScoreHead | ForestHead | RankHead, z: str, evidence: str, rows: str) -> str:
    """z [M, E + 1, N], evidence (r and q*) [2, N] and input [D, N] -> logit [1, N]."""
    if isinstance(head, RankHead):
        return _rank_logit(graph, head, evidence, rows)
    if isinstance(head, ScoreHead):
        return _score_logit(graph, head, 1.0, 0.0, z, evidence)
    constant, most = float(head.constant), (1.0 - head.share) * CONFIDENT
    smooth = _score_logit(graph, head.score, 1.0 - head.share, constant, z, evidence)
    smooth = graph.node("Clip", smooth, constant - most, constant + most)
    return taught_logit(graph, head, smooth, evidence, rows) if head.coefficients.numel() else smooth


def _score_logit(graph: Graph, head: ScoreHead, share: float, constant: float, z: str, evidence: str) -> str:
    """`share` of the members' mean logit, and a constant."""
    shared, bias = _left(head.shared)
    members, width, _ = shared.shape
    own = _with_bias(head.own)
    own[:, :, -1:] += bias
    own_part = graph.node("Reshape", graph.node("MatMul", own, z), np.array([members * width, -1]))
    hidden = _leaky(graph, graph.node("Gemm", shared.flatten(0, 1), evidence, own_part))
    out, offset = _left(head.out)
    offset = share * offset.mean(0) + constant
    return graph.node("Gemm", share / members * out.reshape(1, -1), hidden, offset)


def _rank_logit(graph: Graph, head: RankHead, evidence: str, rows: str) -> str:
    """RankHead, its pieces and weights as one product."""
    offset, sign = [[TINY], [0.0]], [[1.0], [-1.0]]
    if head.by_values:
        size = graph.node("ReduceMean", graph.node("Abs", rows), OVER_SLOTS, keepdims=1)
        evidence = graph.node("Concat", evidence, size, axis=0)
        offset, sign = [*offset, [TINY]], [*sign, [1.0]]
    unusual = graph.node("Log", graph.node("Add", evidence, torch.tensor(offset)))
    unusual = graph.node("Mul", unusual, torch.tensor(sign))
    below = graph.node("Min", graph.node("Sub", unusual, head.knots[:, :1]), 0.0)
    above = graph.node("Sub", graph.node("Unsqueeze", unusual, np.array([1])), head.knots[:, :, None])
    pieces = graph.node("Reshape", graph.node("Relu", above), np.array([head.knots.numel(), -1]))
    slopes = head.slopes * head.weight[:, None]
    logit = graph.node("Gemm", slopes[:, 0][None], below, (head.start @ head.weight).reshape(1, 1))
    return graph.node("Gemm", slopes.reshape(1, -1), pieces, logit)


def _leaky(graph: Graph, value: str) -> str:
    return graph.node("LeakyRelu", value, alpha=SLOPE)


def _left(layer: MemberLinear) -> tuple[Tensor, Tensor]:
    """Weights [M, O, I] and bias [M, O, 1] that are multiplied from the left."""
    return layer.weight.detach().transpose(1, 2), layer.bias.detach().transpose(1, 2)


def _with_bias(layer: MemberLinear) -> Tensor:
    """[M, O, I + 1]: the last input is 1."""
    return torch.cat(_left(layer), 2)


def _keeping_one(weight: Tensor) -> Tensor:
    """[M, O, I] -> [M, O + 1, I]: the last output is the last input, which is 1."""
    one = torch.zeros_like(weight[:, :1])
    one[:, :, -1] = 1.0
    return torch.cat([weight, one], 1)

"""Preprocessing as it is exported: Preprocess with rows along the last axis."""

import numpy as np
import torch
from onnx import TensorProto

from nearnorm.training.export.cycles import places
from nearnorm.training.export.graph import Graph
from nearnorm.training.method.column_maps import KNOTS, UNIT_LIMIT, NormalMap, RangeMap
from nearnorm.training.method.cycles import Circle
from nearnorm.training.method.preprocess import FARTHEST, Preprocess

ROWS_LAST = [1, 0]
AT_ONCE = 1e38
"""A slope so steep that HardSigmoid answers 1 from 0 on and 0 below."""
BELOW_ALL = -3e38


def network_input(graph: Graph, preprocess: Preprocess) -> str:
    """The inputs `numeric` [N, Dn] and `codes` [N, Dc] -> [D, N] float32."""
    parts = []
    if len(preprocess.centre):
        centred = graph.node("Sub", _numbers(graph, preprocess), preprocess.centre)
        values = graph.node("Cast", centred, to=TensorProto.FLOAT)
        values = graph.node("Transpose", values, perm=ROWS_LAST)
        if isinstance(preprocess.map, NormalMap):
            parts.append(_normal_scores(graph, preprocess.map, values))
        else:
            parts.append(_ranges(graph, preprocess.map, values))
        if len(preprocess.indicated):
            parts.append(_missing(graph, graph.node("Gather", values, preprocess.indicated, axis=0)))
    parts += [places(graph, circle) for circle in preprocess.circles if isinstance(circle, Circle)]
    if len(preprocess.gaps):
        seconds = graph.node("Gather", "numeric", preprocess.gaps, axis=1)
        seconds = graph.node("Cast", seconds, to=TensorProto.FLOAT)
        parts.append(_missing(graph, graph.node("Transpose", seconds, perm=ROWS_LAST)))
    if len(preprocess.slot_code):
        codes = graph.node("Cast", "codes", to=TensorProto.INT32)
        codes = graph.node("Transpose", codes, perm=ROWS_LAST)
        codes = graph.node("Gather", codes, preprocess.slot_column, axis=0)
        same = graph.node("Equal", codes, preprocess.slot_code[:, None].to(torch.int32))
        parts.append(graph.node("Cast", same, to=TensorProto.FLOAT))
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=0)


def _numbers(graph: Graph, preprocess: Preprocess) -> str:
    """What is no time, and what passed between times, [N, ...]."""
    if len(preprocess.plain) == preprocess.columns:
        return "numeric"
    plain = graph.node("Gather", "numeric", preprocess.plain, axis=1)
    if not len(preprocess.later):
        return plain
    later, earlier = (
        graph.node("Gather", "numeric", columns, axis=1) for columns in (preprocess.later, preprocess.earlier)
    )
    return graph.node("Concat", plain, graph.node("Sub", later, earlier), axis=1)


def _missing(graph: Graph, values: str) -> str:
    return graph.node("Cast", graph.node("IsNaN", values), to=TensorProto.FLOAT)


def _ranges(graph: Graph, plain: RangeMap, values: str) -> str:
    values = graph.node("Where", graph.node("IsNaN", values), 0.0, values)
    values = graph.node("Clip", values, -FARTHEST, FARTHEST)
    scaled = graph.node("Mul", graph.node("Sub", values, plain.low[:, None]), plain.scale[:, None])
    return graph.node("Clip", scaled, -UNIT_LIMIT, UNIT_LIMIT)


def _normal_scores(graph: Graph, plain: NormalMap, values: str) -> str:
    """The search for a piece: the quarter by three comparisons at once, then halving by halving.

    GatherElements reads a number for each value ten times faster than Gather, from tables in which the
    halves of part p are 2 p and 2 p + 1. Each is looked up by 2 p, its numbers standing there twice.
    Beyond the last knot a piece is level.
    """
    columns = len(plain.low)
    edges = plain.edges.reshape(columns, KNOTS)
    # Max leaves what is missing as it is; it is not above any bound, so that the next step makes it 0:
    # a third of what Where costs
    values = graph.node("Max", values, plain.low[:, None])
    values = graph.node("ThresholdedRelu", values, alpha=BELOW_ALL)
    values = graph.node("Clip", values, -FARTHEST, FARTHEST)
    step = KNOTS // 4
    over = graph.node("Sub", values, edges[:, step::step].t()[:, :, None])
    reached = graph.node("HardSigmoid", over, alpha=AT_ONCE, beta=1.0)
    reached = graph.node("Reshape", reached, np.array([3, -1]))
    quarter = graph.node("MatMul", torch.full((1, 3), 2.0), reached)
    quarter = graph.node("Reshape", quarter, np.array([columns, -1]))
    doubled, position = graph.node("Cast", quarter, to=TensorProto.INT32), ""
    while step > 1:
        step //= 2
        edge = edges[:, step :: 2 * step]
        if position:
            doubled = graph.node("Add", position, position)
        beyond = graph.node(
            "GreaterOrEqual",
            values,
            graph.node("GatherElements", edge.repeat_interleave(2, 1), doubled, axis=1),
        )
        position = graph.node("Add", doubled, graph.node("Cast", beyond, to=TensorProto.INT32))
    start, level, slope = (
        graph.node("GatherElements", table, position, axis=1)
        for table in plain.pieces.reshape(columns, KNOTS, 3).unbind(2)
    )
    return graph.node("Add", level, graph.node("Mul", slope, graph.node("Sub", values, start)))

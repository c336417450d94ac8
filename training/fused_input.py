"""Preprocessing as it is exported: Preprocess with rows along the last axis."""

import numpy as np
import torch
from onnx import TensorProto

from training.column_maps import KNOTS, UNIT_LIMIT, NormalMap, RangeMap
from training.graph import Graph
from training.preprocess import FARTHEST, Preprocess

ROWS_LAST = [1, 0]
AT_ONCE = 1e38
"""A slope so steep that HardSigmoid answers 1 from 0 on and 0 below."""


def network_input(graph: Graph, preprocess: Preprocess) -> str:
    """The inputs `numeric` [N, Dn] and `codes` [N, Dc] -> [D, N] float32."""
    parts = []
    if len(preprocess.centre):
        centred = graph.node("Sub", "numeric", preprocess.centre)
        values = graph.node("Cast", centred, to=TensorProto.FLOAT)
        values = graph.node("Transpose", values, perm=ROWS_LAST)
        missing = graph.node("IsNaN", values)
        values = graph.node("Where", missing, 0.0, values)
        values = graph.node("Clip", values, -FARTHEST, FARTHEST)
        plain = preprocess.map
        if isinstance(plain, NormalMap):
            parts.append(_normal_scores(graph, plain, values))
        else:
            parts.append(_ranges(graph, plain, values))
        if len(preprocess.indicated):
            missing = graph.node("Gather", missing, preprocess.indicated, axis=0)
            parts.append(graph.node("Cast", missing, to=TensorProto.FLOAT))
    if len(preprocess.slot_code):
        codes = graph.node("Cast", "codes", to=TensorProto.INT32)
        codes = graph.node("Transpose", codes, perm=ROWS_LAST)
        codes = graph.node("Gather", codes, preprocess.slot_column, axis=0)
        same = graph.node("Equal", codes, preprocess.slot_code[:, None].to(torch.int32))
        parts.append(graph.node("Cast", same, to=TensorProto.FLOAT))
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=0)


def _ranges(graph: Graph, plain: RangeMap, values: str) -> str:
    scaled = graph.node("Mul", graph.node("Sub", values, plain.low[:, None]), plain.scale[:, None])
    return graph.node("Clip", scaled, -UNIT_LIMIT, UNIT_LIMIT)


def _normal_scores(graph: Graph, plain: NormalMap, values: str) -> str:
    """The search for a piece: the quarter by three comparisons at once, then halving by halving.

    GatherElements reads a number for each value ten times faster than Gather, from tables in which
    the halves of part p are 2 p and 2 p + 1. Beyond the last knot a piece is level.
    """
    columns = len(plain.low)
    edges = plain.edges.reshape(columns, KNOTS)
    values = graph.node("Max", values, plain.low[:, None])
    step = KNOTS // 4
    over = graph.node("Sub", values, edges[:, step::step].t()[:, :, None])
    reached = graph.node("HardSigmoid", over, alpha=AT_ONCE, beta=1.0)
    reached = graph.node("Reshape", reached, np.array([3, -1]))
    quarter = graph.node("MatMul", torch.ones(1, 3), reached)
    quarter = graph.node("Reshape", quarter, np.array([columns, -1]))
    position = graph.node("Cast", quarter, to=TensorProto.INT32)
    while step > 1:
        step //= 2
        edge = graph.node("GatherElements", edges[:, step :: 2 * step], position, axis=1)
        beyond = graph.node("GreaterOrEqual", values, edge)
        doubled = graph.node("Add", position, position)
        position = graph.node("Add", doubled, graph.node("Cast", beyond, to=TensorProto.INT32))
    start, level, slope = (
        graph.node("GatherElements", table, position, axis=1)
        for table in plain.pieces.reshape(columns, KNOTS, 3).unbind(2)
    )
    return graph.node("Add", level, graph.node("Mul", slope, graph.node("Sub", values, start)))

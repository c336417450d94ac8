"""Preprocessing as it is exported: Preprocess with rows along the last axis."""

from dataclasses import dataclass

import numpy as np
import torch
from onnx import TensorProto

from nearnorm.training.export.cycles import places
from nearnorm.training.export.graph import Graph
from nearnorm.training.method.inputs.column_maps import BEYOND_ALL, UNIT_LIMIT, NormalMap, RangeMap
from nearnorm.training.method.inputs.cycles import Circle
from nearnorm.training.method.inputs.preprocess import FARTHEST, Preprocess

ROWS_LAST = [1, 0]
TWO_AXES = np.array([0, -1])
"""[D, 1, N] -> [D, N]; 0 leaves a length as it is."""
BELOW_ALL = -3e38


@dataclass(frozen=True)
class Slots:
    """What becomes of the inputs `numeric` [N, Dn] and `codes` [N, Dc]: numbers [Dn, 1, N], None where there
    are none, before they are mapped and after, and all `other` slots [.., N]."""

    graph: Graph
    numbers: str | None
    mapped: str | None
    other: list[str]

    def input(self) -> str:
        """What Preprocess answers, [D, N] float32."""
        return self._all(self.mapped)

    def plain(self) -> str:
        """Preprocess.plain_rows, [D, N] float32."""
        return self._all(self.numbers)

    def _all(self, numbers: str | None) -> str:
        parts = self.other
        if numbers is not None:
            parts = [self.graph.node("Reshape", numbers, TWO_AXES), *parts]
        return parts[0] if len(parts) == 1 else self.graph.node("Concat", *parts, axis=0)


def slots(graph: Graph, preprocess: Preprocess) -> Slots:
    """Add what turns the graph's inputs into slots."""
    parts, numbers, mapped = [], None, None
    if len(preprocess.centre):
        centred = graph.node("Sub", _numbers(graph, preprocess), preprocess.centre[None, None])
        values = graph.node("Cast", centred, to=TensorProto.FLOAT)
        values = graph.node("Transpose", values, perm=[2, 0, 1])  # [Dn, 1, N]
        if isinstance(preprocess.map, NormalMap):
            numbers = _present(graph, values)
            mapped = _normal_scores(graph, preprocess.map, numbers)
        else:
            numbers = graph.node("Where", graph.node("IsNaN", values), 0.0, values)
            mapped = _ranges(graph, preprocess.map, numbers)
        if len(preprocess.indicated):
            missing = _missing(graph, graph.node("Gather", values, preprocess.indicated, axis=0))
            parts.append(graph.node("Reshape", missing, TWO_AXES))
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
    return Slots(graph, numbers, mapped, parts)


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


def _present(graph: Graph, values: str) -> str:
    """Values that are there, 0 for the others. Max leaves what is missing as it is; it is not above any
    bound, so that the next step makes it 0: a third of what Where costs."""
    values = graph.node("Max", values, -FARTHEST)
    return graph.node("ThresholdedRelu", values, alpha=BELOW_ALL)


def _ranges(graph: Graph, plain: RangeMap, values: str) -> str:
    values = graph.node("Clip", values, -FARTHEST, FARTHEST)
    scaled = graph.node(
        "Mul", graph.node("Sub", values, plain.low[:, None, None]), plain.scale[:, None, None]
    )
    return graph.node("Clip", scaled, -UNIT_LIMIT, UNIT_LIMIT)


def _normal_scores(graph: Graph, plain: NormalMap, values: str) -> str:
    """The ramps of each column, added up, [Dn, 1, N]; one more is below all values, its step where
    the map begins."""
    edges, slopes, steps = (
        torch.cat([first, table], 1)
        for first, table in (
            (torch.full_like(plain.edges[:, :1], -BEYOND_ALL), plain.edges),
            (torch.ones_like(plain.slopes[:, :1]), plain.slopes),
            (plain.levels[:, :1], plain.steps),
        )
    )
    along = graph.node("Mul", graph.node("Sub", values, edges[:, :, None]), slopes[:, :, None])
    return graph.node("MatMul", steps[:, None], graph.node("Clip", along, 0.0, 1.0))

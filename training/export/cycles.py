"""Circles of times as they are exported: Circle with rows along the last axis.

Days and minutes are counted in float64, exactly; only a place in a table is left of them.
"""

import numpy as np
from onnx import TensorProto

from nearnorm.training.export.graph import Graph
from nearnorm.training.method.inputs.cycles import DAY, Circle


def places(graph: Graph, circle: Circle) -> str:
    """The input `numeric` [N, Dn] -> cosine and sine of the circle's columns in turn, [2 T, N] float32."""
    seconds = graph.node("Gather", "numeric", circle.columns, axis=1)
    place = graph.node("Cast", _PLACES[circle.name](graph, seconds), to=TensorProto.FLOAT)
    missing = float(circle.length)
    place = graph.node("Where", graph.node("IsNaN", place), missing, place)
    place = graph.node("Cast", graph.node("Clip", place, 0.0, missing), to=TensorProto.INT64)
    found = graph.node("Gather", circle.table, graph.node("Add", place, circle.base), axis=0)  # [N, T, 2]
    found = graph.node("Reshape", found, np.array([0, 2 * len(circle.columns)]))
    return graph.node("Transpose", found, perm=[1, 0])


def _floor(graph: Graph, value: str, by: float) -> str:
    return graph.node("Floor", graph.node("Div", value, np.array(by)))


def _rest(graph: Graph, value: str, by: float) -> str:
    """What is left of a value beyond a multiple."""
    return graph.node("Sub", value, graph.node("Mul", _floor(graph, value, by), np.array(by)))


def _day(graph: Graph, seconds: str, ahead: float) -> str:
    return graph.node("Add", _floor(graph, seconds, DAY), np.array(ahead))


def _minute_of_day(graph: Graph, seconds: str) -> str:
    return _floor(graph, _rest(graph, seconds, DAY), 60.0)


def _day_of_week(graph: Graph, seconds: str) -> str:
    return _rest(graph, _day(graph, seconds, 3.0), 7.0)


def _day_of_month(graph: Graph, seconds: str) -> str:
    of_era = _rest(graph, _day(graph, seconds, 719_468.0), 146_097.0)
    leap = graph.node("Sub", _floor(graph, of_era, 36_524.0), _floor(graph, of_era, 1_460.0))
    leap = graph.node("Sub", leap, _floor(graph, of_era, 146_096.0))
    year = _floor(graph, graph.node("Add", of_era, leap), 365.0)
    before = graph.node("Add", graph.node("Mul", year, np.array(365.0)), _floor(graph, year, 4.0))
    of_year = graph.node("Sub", of_era, graph.node("Sub", before, _floor(graph, year, 100.0)))
    month = _floor(graph, _linear(graph, of_year, 5.0), 153.0)
    return graph.node("Sub", of_year, _floor(graph, _linear(graph, month, 153.0), 5.0))


def _linear(graph: Graph, value: str, slope: float) -> str:
    """slope x + 2: how months of 31 and 30 days take turns."""
    return graph.node("Add", graph.node("Mul", value, np.array(slope)), np.array(2.0))


_PLACES = {"day": _minute_of_day, "week": _day_of_week, "month": _day_of_month}

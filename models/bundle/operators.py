"""What a bundle's graph may hold: the operators that our exporter writes, and nothing that repeats them.

A graph of these ends after as many steps as it has nodes. Loops, branches, functions, other domains and
weights in other files are refused by name, before a session is made of them.

The model is read as protobuf's wire format, as far as that takes: each field of a message is a number with a
kind, then its content. Where a field comes twice protobuf merges it or takes the last: all are looked at.
"""

from collections.abc import Iterator

from nearnorm.models.errors import BundleError

OPERATORS = frozenset(  # of training/export, and of bundles that earlier ones wrote
    [
        "Abs",
        "Add",
        "ArgMin",
        "Cast",
        "Clip",
        "Concat",
        "Div",
        "Equal",
        "Floor",
        "Gather",
        "GatherElements",
        "Gemm",
        "Greater",
        "HardSigmoid",
        "IsNaN",
        "LeakyRelu",
        "Log",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Sqrt",
        "Squeeze",
        "Sub",
        "ThresholdedRelu",
        "Transpose",
        "Unsqueeze",
        "Where",
        "ArgMax",
        "CastLike",
        "GreaterOrEqual",
        "ReduceSum",
        "Split",
    ]
)
MOST_NODES = 10_000
MOST_FIELDS = 1_000_000
"""Of all messages that are looked into: our largest graphs have some thousands."""
DOMAINS = frozenset({b"", b"ai.onnx"})

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
# field numbers of onnx.proto
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_NAME, _NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 3, 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


def check_operators(model: bytes, where: str) -> None:
    """Raises BundleError naming the file `where` and what it holds that it may not."""
    try:
        for problem in _Reader(model).problems():
            raise BundleError(f"{where} {problem}: train the model again with this release")
    except _Malformed:
        raise BundleError(f"{where} is no ONNX model: it is damaged") from None


class _Malformed(Exception): ...


class _Reader:
    def __init__(self, model: bytes) -> None:
        self._model = model
        self._fields = 0
        self._nodes = 0

    def problems(self) -> Iterator[str]:
        for number, start, stop in self._messages(0, len(self._model)):
            if number == _MODEL_GRAPH:
                yield from self._graph(start, stop)
            elif number == _MODEL_FUNCTIONS:
                yield "defines functions of its own"
            elif number == _MODEL_TRAINING:
                yield "holds steps of a training"

    def _graph(self, start: int, stop: int) -> Iterator[str]:
        for number, start_, stop_ in self._messages(start, stop):
            if number == _GRAPH_NODE:
                self._nodes += 1
                if self._nodes > MOST_NODES:
                    yield f"has more than {MOST_NODES:,} nodes"
                yield from self._node(start_, stop_)
            elif number == _GRAPH_INITIALIZER:
                yield from self._tensor(start_, stop_)
            elif number == _GRAPH_SPARSE:
                yield "holds sparse weights"

    def _node(self, start: int, stop: int) -> Iterator[str]:
        name = b""
        for number, start_, stop_ in self._messages(start, stop):
            content = self._model[start_:stop_]
            if number == _NODE_NAME:
                name = content
            elif number == _NODE_TYPE and content.decode(errors="replace") not in OPERATORS:
                yield f"uses the operator {_shown(content)}{_at(name)}, which our exporter does not write"
            elif number == _NODE_DOMAIN and content not in DOMAINS:
                yield f"uses an operator of the domain {_shown(content)}{_at(name)}, which is not ONNX's own"
            elif number == _NODE_ATTRIBUTE:
                yield from self._attribute(start_, stop_)

    def _attribute(self, start: int, stop: int) -> Iterator[str]:
        for number, start_, stop_ in self._messages(start, stop):
            if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                yield "holds a graph within a node"
            elif number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                yield from self._tensor(start_, stop_)
            elif number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
                yield "holds sparse weights"

    def _tensor(self, start: int, stop: int) -> Iterator[str]:
        for number, _, _ in self._messages(start, stop, (_TENSOR_LOCATION,)):
            if number in (_TENSOR_EXTERNAL, _TENSOR_LOCATION):
                yield "keeps weights in another file"

    def _messages(
        self, start: int, stop: int, numbers: tuple[int, ...] = ()
    ) -> Iterator[tuple[int, int, int]]:
        """Number, first and last place of each field with a content; those of `numbers` too, if not 0."""
        position = start
        while position < stop:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise _Malformed
            tag, position = self._varint(position, stop)
            number, kind = tag >> 3, tag & 7
            if not number or tag >= 2**32:
                raise _Malformed
            if kind == _LENGTH:
                length, position = self._varint(position, stop)
                if length > stop - position:
                    raise _Malformed
                yield number, position, position + length
                position += length
            elif kind == _VARINT:
                value, position = self._varint(position, stop)
                if value and number in numbers:
                    yield number, position, position
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                position += 8 if kind == _EIGHT_BYTES else 4
                if position > stop:
                    raise _Malformed
            else:  # groups, which ONNX has none of
                raise _Malformed

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        value = shift = 0
        while position < stop and shift < 70:
            byte = self._model[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
        raise _Malformed


def _at(name: bytes) -> str:
    return f" at node {_shown(name)}" if name else ""


def _shown(text: bytes) -> str:
    return repr(text[:60].decode(errors="replace"))

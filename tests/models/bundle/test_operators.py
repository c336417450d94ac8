"""Which graphs a bundle may hold: those of our exporter, and nothing that could go on for ever."""

import ast
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from nearnorm.models.bundle.operators import MOST_FIELDS, MOST_NODES, OPERATORS, check_operators
from nearnorm.models.errors import BundleError

ROOT = Path(__file__).parents[3]
MODELS = [ROOT / "models/starter/model.onnx", *(ROOT / "tests/contract/bundles").glob("*/model.onnx")]


def written_by_the_exporter() -> set[str]:
    """The names in `graph.node("Name", ...)` of training/export, and that of `graph.split`."""
    return {"Split"} | {
        call.args[0].value
        for path in (ROOT / "training/export").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "node"
        if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }


def test_the_operators_are_those_of_the_exporter_and_of_older_bundles() -> None:
    older = {node.op_type for path in MODELS for node in onnx.load(path).graph.node}
    assert written_by_the_exporter() | older == OPERATORS


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_our_own_models_are_taken(path: Path) -> None:
    check_operators(path.read_bytes(), "model.onnx")


def small() -> onnx.ModelProto:
    model: onnx.ModelProto = onnx.load(MODELS[-1])
    return model


def graph() -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "inner", [], [])


def a_loop(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Loop", ["", "", "x"], ["y"], name="endless", body=graph()))


def a_branch(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=graph(), else_branch=graph()))


def a_scan(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Scan", ["x"], ["y"], body=graph(), num_scan_inputs=1))


def a_graph_in_an_operator_of_ours(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", graph()))


def a_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def a_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    model.functions.append(
        helper.make_function("", "Sub", ["x"], ["y"], [node], [helper.make_opsetid("", 18)])
    )


def weights_elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def weights_of_a_node_elsewhere(model: onnx.ModelProto) -> None:
    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def sparse_weights(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def nodes_without_end(model: onnx.ModelProto) -> None:
    model.graph.node.extend([helper.make_node("Add", ["x", "x"], ["y"])] * MOST_NODES)


def a_training(model: onnx.ModelProto) -> None:
    model.training_info.add()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (a_loop, "uses the operator 'Loop' at node 'endless'"),
        (a_branch, "uses the operator 'If'"),
        (a_scan, "uses the operator 'Scan'"),
        (a_graph_in_an_operator_of_ours, "holds a graph within a node"),
        (a_domain, "an operator of the domain 'com.microsoft'"),
        (a_function, "defines functions of its own"),
        (weights_elsewhere, "keeps weights in another file"),
        (weights_of_a_node_elsewhere, "keeps weights in another file"),
        (sparse_weights, "holds sparse weights"),
        (nodes_without_end, "has more than 10,000 nodes"),
        (a_training, "holds steps of a training"),
    ],
)
def test_what_our_exporter_does_not_write_is_refused_by_name(
    harm: Callable[[onnx.ModelProto], None], told: str
) -> None:
    model = small()
    harm(model)
    with pytest.raises(BundleError, match=told) as refused:
        check_operators(model.SerializeToString(), "model.onnx")
    assert str(refused.value).startswith("model.onnx ")


def test_what_protobuf_merges_from_two_places_is_looked_at_in_both() -> None:
    looped = onnx.ModelProto()
    a_loop(looped)
    for content in (
        small().SerializeToString() + looped.SerializeToString(),
        looped.SerializeToString() + small().SerializeToString(),
    ):
        assert any(node.op_type == "Loop" for node in onnx.load_from_string(content).graph.node)
        with pytest.raises(BundleError, match="'Loop'"):
            check_operators(content, "model.onnx")


@pytest.mark.parametrize(
    "content",
    [
        MODELS[0].read_bytes()[:-1],  # cut
        b"\x0b\x0c",  # a group
        b"\x02\x00",  # field 0
        b"\x3a\xff\xff\xff\xff\x0f",  # longer than there is
        b"\x3a" + b"\xff" * 20,  # a number that does not end
        b"\xba\x80\x80\x80\x80\x10\x00",  # a field's number beyond 32 bits
        b"\x09\x00",  # eight bytes that are two
        b"\x08\x00" * (MOST_FIELDS + 1),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"^model\.onnx is no ONNX model: it is damaged$"):
        check_operators(content, "model.onnx")

"""Trees as they are exported: taught ones as sums over soft answers, grown ones by the number of a leaf.

T trees of Q questions each, D slots, N rows along the last axis.
"""

import numpy as np
import torch
from onnx import TensorProto

from nearnorm.training.export.graph import Graph
from nearnorm.training.method.forest.grown import GrownForest
from nearnorm.training.method.forest.trees import DEPTH
from nearnorm.training.method.heads import ALONE, RAMP, SEVERAL, STEEP, TINY, TOGETHER, ForestHead


def taught_logit(graph: Graph, head: ForestHead, logit: str, evidence: str, rows: str) -> str:
    """Taught trees added to a logit [1, N], from evidence (r and q*) [2, N] and input [D, N].

    Picking a question's input is cheaper than ForestHead's product with zeros. Evidence is scaled
    so that one slope fits all questions.
    """
    scale = torch.tensor([[1.0], [-1.0]]) / (RAMP * STEEP)  # log r and -log q*
    unusual = graph.node("Log", graph.node("Add", evidence, torch.tensor([[TINY], [0.0]])))
    asked = graph.node("Concat", rows, graph.node("Mul", unusual, scale), axis=0)
    chosen = head.weights.argmax(1).flatten().numpy()
    above = graph.node(
        "Add", graph.node("Gather", asked, chosen, axis=0), head.offsets.reshape(-1, 1) / STEEP
    )
    answers = graph.node("HardSigmoid", above, alpha=STEEP, beta=0.0)
    logit = graph.node("Gemm", head.coefficients[ALONE].reshape(1, -1), answers, logit)
    by_question = graph.node("Reshape", answers, np.array([DEPTH, -1]))
    together = graph.node(
        "Relu", graph.node("Gemm", TOGETHER, by_question, 1.0 - TOGETHER.sum(1, keepdim=True))
    )
    trees = head.coefficients.shape[1]
    together = graph.node("Reshape", together, np.array([len(TOGETHER) * trees, -1]))
    return graph.node("Gemm", head.coefficients[SEVERAL].reshape(1, -1), together, logit)


def grown_logit(graph: Graph, forest: GrownForest, logit: str, plain: str) -> str:
    """Grown trees added to a logit [1, N], from plain rows [D, N]."""
    questions, trees = forest.column.shape
    asked = graph.node("Gather", plain, forest.column.flatten().numpy(), axis=0)
    answers = graph.node("Greater", asked, forest.threshold.reshape(-1, 1))
    digits = graph.node(
        "Reshape", graph.node("Cast", answers, to=TensorProto.FLOAT), np.array([questions, -1])
    )
    number = graph.node("MatMul", 2.0 ** torch.arange(questions)[None], digits)  # exact: digits of a float
    number = graph.node("Cast", graph.node("Reshape", number, np.array([trees, -1])), to=TensorProto.INT32)
    leaves = graph.node("GatherElements", forest.leaf, number, axis=1)
    return graph.node("Gemm", torch.ones(1, trees), leaves, logit)

"""wyrm_py: your own sparse model, at the speed of C++, on all cores."""

from wyrm_py.leaves import IndexInputNode, InputNode, ParameterNode, SparseInputNode
from wyrm_py.nodes import Node
from wyrm_py.optim import SGD, Adagrad
from wyrm_py.parameters import HogwildParameter

__all__ = [
    "SGD",
    "Adagrad",
    "HogwildParameter",
    "IndexInputNode",
    "InputNode",
    "Node",
    "ParameterNode",
    "SparseInputNode",
]

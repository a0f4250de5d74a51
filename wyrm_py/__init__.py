"""wyrm_py: your own sparse model, at the speed of C++, on all cores."""

from wyrm_py import data, errors, evaluation, nn
from wyrm_py.arrayfile import read_manifest, verify
from wyrm_py.checkpoint import load, load_model, save, save_model
from wyrm_py.checkpointing import Checkpoint
from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.derivatives import (
    finite_difference,
    gradient,
    hessian_vector_product,
    jacobian,
)
from wyrm_py.description import from_json, to_json
from wyrm_py.drawing import Drawing, draw
from wyrm_py.engines.native.step import CompiledStep, compile
from wyrm_py.errors import WyrmError
from wyrm_py.graph.mode import Mode
from wyrm_py.graph.op import Op, Pointwise, Spec
from wyrm_py.growing_rows import GrowingRows
from wyrm_py.known_items import kth_best, sample_known
from wyrm_py.leaves import IndexInputNode, InputNode, ParameterNode, SparseInputNode
from wyrm_py.nodes import Node
from wyrm_py.optim import (
    FTRL,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Optimizer,
    RMSProp,
    schedules,
)
from wyrm_py.parallel.evaluate import evaluate
from wyrm_py.parallel.fit import fit
from wyrm_py.parallel.history import History
from wyrm_py.parallel.learner import Learner
from wyrm_py.parallel.stopping import EarlyStopping
from wyrm_py.parameters import HogwildParameter
from wyrm_py.recurrence import scan
from wyrm_py.samplers import sample_popular, sample_uniform, sample_warp
from wyrm_py.sparse_rows import SparseRows, sparse_rows

__all__ = [
    "FTRL",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Checkpoint",
    "CompiledStep",
    "Drawing",
    "EarlyStopping",
    "GrowingRows",
    "History",
    "HogwildParameter",
    "IndexInputNode",
    "InputNode",
    "Learner",
    "Mode",
    "Node",
    "Op",
    "Optimizer",
    "ParameterNode",
    "Pointwise",
    "RMSProp",
    "RaggedColumn",
    "SparseInputNode",
    "SparseRows",
    "Spec",
    "WyrmError",
    "compile",
    "data",
    "draw",
    "errors",
    "evaluate",
    "evaluation",
    "finite_difference",
    "fit",
    "from_json",
    "gradient",
    "hessian_vector_product",
    "jacobian",
    "kth_best",
    "load",
    "load_model",
    "nn",
    "read_manifest",
    "sample_known",
    "sample_popular",
    "sample_uniform",
    "sample_warp",
    "save",
    "save_model",
    "scan",
    "schedules",
    "sparse_rows",
    "to_json",
    "verify",
]

"""Update rules: one file a rule, the loops over elements and rows once."""

from wyrm_py.optim.adagrad import Adagrad
from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Optimizer"]

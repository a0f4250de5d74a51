"""Update rules: one file a rule, the loops over elements and rows once."""

from wyrm_py.optim import schedules
from wyrm_py.optim.adadelta import Adadelta
from wyrm_py.optim.adagrad import Adagrad
from wyrm_py.optim.adam import Adam, AdamW
from wyrm_py.optim.base import Optimizer
from wyrm_py.optim.ftrl import FTRL
from wyrm_py.optim.rmsprop import RMSProp
from wyrm_py.optim.sgd import SGD

__all__ = [
    "FTRL",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSProp",
    "schedules",
]

"""The memory of parameters: private or shared, with optimizer state beside it."""

from wyrm_py.parameters.array import SharedArray
from wyrm_py.parameters.block import ParameterBlock
from wyrm_py.parameters.plain import PlainParameter
from wyrm_py.parameters.shared import HogwildParameter

__all__ = ["HogwildParameter", "ParameterBlock", "PlainParameter", "SharedArray"]

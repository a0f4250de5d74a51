"""Every error wyrm_py raises on purpose.

Each kind extends `WyrmError` and the built-in a Python user would expect, so
both `except wp.WyrmError` and `except ValueError` work. A message is one
sentence that says who, what is required and what was given, then the cure.
"""


class WyrmError(Exception):
    """Base of all errors raised by wyrm_py."""


class ShapeError(WyrmError, ValueError):
    """Shapes of operands, values or columns do not fit together."""


class DTypeError(WyrmError, TypeError):
    """A value has a dtype that its place does not take."""


class IndexRangeError(WyrmError, IndexError):
    """An index is negative or past the last row."""


class GraphError(WyrmError, RuntimeError):
    """A graph is used in a way its state does not allow."""


class CompileError(WyrmError, RuntimeError):
    """A graph cannot be turned into a native function."""


class ParameterError(WyrmError, ValueError):
    """A parameter cannot be made, grown or used as asked."""


class StaleParameterError(WyrmError, RuntimeError):
    """The shared memory behind a handle is gone or belongs to somebody else."""


class SharedMemoryFullError(WyrmError, MemoryError):
    """The system has no room for a shared segment."""


class SettingError(WyrmError, ValueError):
    """A setting (learning rate, number of jobs, ...) is impossible."""


class DataError(WyrmError, ValueError):
    """Data cannot be trained on: NaN, unequal lengths, a malformed line, ..."""


class MissingFileError(DataError, FileNotFoundError):
    """A file to be read does not exist or is not a file."""


class MissingColumnError(DataError, KeyError):
    """A named column is not in the data, or an input has no column."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class UnknownIdError(DataError, KeyError):
    """A user or an item was not in the data a model was trained on."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class DivergenceError(WyrmError, ArithmeticError):
    """A loss or a parameter became NaN or infinite."""


class WorkerLostError(WyrmError, RuntimeError):
    """A worker died again and again while doing the same work."""


class CorruptCheckpointError(WyrmError, ValueError):
    """A checkpoint file is damaged, truncated or not one of ours."""


class UnsavableError(WyrmError, TypeError):
    """A file cannot hold something: a function, an array among the settings, ..."""


class UnknownClassError(WyrmError, LookupError):
    """A file names a class that the reader does not know, and builds nothing."""


class NotFittedError(WyrmError, ValueError, AttributeError):
    """A model is asked for predictions before it was fitted."""


class MissingPackageError(WyrmError, ImportError):
    """An optional package that something needs is not installed."""

"""`fit`: train a loss over columns, on any number of workers.

Everything that can be wrong is checked here, before anything changes; what then
happens is in run.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from wyrm_py.data.columns import take_columns
from wyrm_py.engines.plan import Plan, require_optimizer
from wyrm_py.errors import DataError, SettingError
from wyrm_py.leaves import ParameterNode, require_node, require_nodes
from wyrm_py.nodes import Node
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.history import History
from wyrm_py.parallel.observers import Callback, CheckpointFile, Observers
from wyrm_py.parallel.pools import resolve_jobs
from wyrm_py.parallel.run import Run, check_columns
from wyrm_py.parallel.stopping import EarlyStopping
from wyrm_py.parallel.validation import Validation
from wyrm_py.parallel.weighting import weigh
from wyrm_py.seeds import RandomState, seed_of

BACKENDS = ("processes", "threads")
MODES = ("hogwild", "synchronous")
ENGINES = ("native", "numpy")


def fit(
    loss: Node,
    optimizer: Optimizer,
    inputs: Mapping[Any, Any],
    epochs: int = 1,
    n_jobs: int = 1,
    backend: Literal["processes", "threads"] = "processes",
    mode: Literal["hogwild", "synchronous"] = "hogwild",
    engine: Literal["native", "numpy"] = "native",
    batch_size: int | None = None,
    parameters: Iterable[ParameterNode] | None = None,
    shuffle: bool = True,
    random_state: RandomState = None,
    weights: ArrayLike | None = None,
    validation: Any = None,
    stop: EarlyStopping | None = None,
    checkpoint: CheckpointFile | None = None,
    resume: History | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> History:
    """Train a loss over columns: row k of every column is example k.

    Parameters
    ----------
    loss : node of any shape; its elements are summed for the gradient
    optimizer : SGD, Adagrad, ...; its settings may be changed by callbacks. A
        schedule starts at the optimizer's `epoch`, which then goes up with each epoch
    inputs : {node: column} for every input under the loss. A column has shape
        (N, *node.shape), axes of length one may be left out; a SparseInputNode
        takes CSR of N rows; a ragged index node a RaggedColumn, a pair (values,
        offsets) or a list of lists
    epochs : int >= 0, passes over the examples
    n_jobs : workers; -1 takes all cores, -2 all but one. More than there are
        examples is lowered. One worker runs in the calling process
    backend : "processes" or "threads" (native steps hold no lock)
    mode : "hogwild" (lock-free; not repeatable above one worker) or
        "synchronous" (rounds; the same bits for the same seed and n_jobs)
    engine : "native" or "numpy" (slow; for debugging)
    batch_size : examples of one step, or None for one at a time. With it, every
        fed node has a first axis that stands for the batch (built with any
        length) and its column has shape (N, *node.shape[1:])
    parameters : those to update; all trainable ones under the loss by default
    shuffle : take the examples in another random order each epoch
    random_state : seed of the order and of all samplers, or a Generator or RandomState
    weights : (N,) finite numbers >= 0, not all zero; the loss of example k, and with
        it the gradient, is multiplied by `weights[k]`. With `batch_size` the first
        axis of the loss must be the batch
    validation : {node: column} for the same inputs: the mean loss over them after each
        epoch goes to `history.validation_losses`, without dropout and with the same
        draws each time. Or a function of the History that returns a number, or a
        dict of numbers by name, for `history.metrics`. Or a list of both
    stop : EarlyStopping, which ends the training when validation gets no better
    checkpoint : Checkpoint, which keeps the run in a file as it goes, so that it can be
        resumed after the process was killed
    resume : History of the run that this one continues, with its seed and at its
        next epoch: the `epochs` of both come to one longer History. One from a
        checkpoint in the middle of an epoch goes on there; that epoch counts as one
        of `epochs`. Given the
        same graph, data and settings, and the parameters and the optimizer as
        they were (see `save`), one worker and synchronous mode with the same
        n_jobs give the same bits as a run that was never interrupted
    callbacks : each is called with the History after each epoch; one that
        returns True ends the training
    progress : show a progress bar, if standard error is a terminal

    Returns
    -------
    History

    Raises
    ------
    SettingError, ShapeError, DTypeError, DataError, MissingColumnError,
    IndexRangeError, GraphError, CompileError
        Before anything changes.
    DivergenceError
        If a loss or a parameter became NaN or infinite; parameters stay as they
        were when the training stopped.
    WorkerLostError
        If worker processes died again and again over the same block.
    """
    _require_settings(optimizer, epochs, backend, mode, engine, batch_size)
    calls = _callables(callbacks)
    require_node("fit", "loss", loss)
    parameters = None if parameters is None else require_nodes("fit", parameters)
    plan = Plan.training(loss, parameters)
    leaves = plan.leaves()
    single = batch_size == 1 and all(leaf.shape[:1] == (1,) for leaf in leaves)
    batch = None if single else batch_size
    columns = take_columns(leaves, inputs, batch is not None)
    total = next(iter(columns.values())).count if columns else 1
    mean_weight = 1.0
    if weights is not None:
        weighted = weigh("fit", loss, weights, total, batch is not None)
        if weighted.mean == 0:
            raise DataError(
                "fit: all weights are zero, so there is nothing to learn. Give at "
                "least one example a weight above zero."
            )
        plan = Plan.training(weighted.loss, parameters)
        columns[weighted.column.leaf] = weighted.column
        mean_weight = weighted.mean
    batch = None if batch is None else min(int(batch), total)  # it sizes the scratch
    check_columns(plan, columns)
    jobs = max(1, min(resolve_jobs(n_jobs), total))
    run = Run(plan, optimizer, columns, total, jobs, backend, mode, engine, batch)
    run.blocks.shuffle, run.blocks.mean_weight = bool(shuffle), mean_weight
    kept = Validation(validation, loss, batch)
    observers = Observers(calls, kept, _stopping(stop, kept), _checkpoint(checkpoint))
    before = _start(random_state, resume)
    settings = {
        "optimizer": repr(optimizer),
        "epochs": int(epochs),
        "examples": total,
        "n_jobs": jobs,
        "backend": backend,
        "mode": mode,
        "engine": engine,
        "batch_size": batch,
        "shuffle": bool(shuffle),
        "weighted": weights is not None,
        "stop": None if stop is None else repr(stop),
        "parameters": _sizes(plan),
    }
    try:
        return run.train(int(epochs), observers, progress, before, settings)
    finally:
        loss._tick = -1  # its value is of before: `backward` needs a new `forward`


def _sizes(plan: Plan) -> dict[str, list[int]]:
    """Return the shapes of what is trained, by name or position."""
    nodes = [update.nodes[0] for update in plan.updates]
    return {node.name or str(k): [*node.shape] for k, node in enumerate(nodes)}


def _stopping(stop: Any, validation: Validation) -> EarlyStopping | None:
    if stop is None:
        return None
    if not isinstance(stop, EarlyStopping):
        raise SettingError(
            f"fit: stop must be an EarlyStopping or None, got {stop!r}. A callback "
            "that returns True ends a training too."
        )
    data, functions = validation.data is not None, bool(validation.functions)
    watched = {"loss": True, None: data or functions, "validation_loss": data}
    if not watched.get(stop.metric, functions):
        raise SettingError(
            f"fit: {stop!r} watches what is not there. Give `validation`: columns for "
            "the validation loss, or a function for a metric of your own."
        )
    return stop


def _checkpoint(checkpoint: Any) -> CheckpointFile | None:
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, CheckpointFile):
        raise SettingError(
            "fit: checkpoint must be such as wp.Checkpoint(path), or None, got "
            f"{checkpoint!r}."
        )
    checkpoint.require_writable()
    return checkpoint


def _start(random_state: Any, resume: Any) -> History:
    """Return the history that a run begins with."""
    if resume is None:
        return History(seed=seed_of("fit", random_state))
    if not isinstance(resume, History):
        raise SettingError(
            "fit: resume must be the History of an earlier run or None, got "
            f"{resume!r}. Load it with `wp.load(path, parameters, history=...)`."
        )
    if random_state is not None:
        raise SettingError(
            "fit: resume brings the seed of the run it continues, got random_state="
            f"{random_state!r} as well. Leave one of them out."
        )
    return resume


def _require_settings(
    optimizer: Any, epochs: Any, backend: Any, mode: Any, engine: Any, batch: Any
) -> None:
    require_optimizer("fit", optimizer)
    choices = (("backend", backend, BACKENDS), ("mode", mode, MODES))
    for name, given, options in (*choices, ("engine", engine, ENGINES)):
        if given not in options:
            raise SettingError(
                f"fit: {name} must be one of {', '.join(map(repr, options))}, got "
                f"{given!r}."
            )
    for name, given, least in (("epochs", epochs, 0), ("batch_size", batch, 1)):
        if given is None and name == "batch_size":
            continue
        whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
        if not whole or given < least:
            raise SettingError(
                f"fit: {name} must be an integer of at least {least}, got {given!r}."
            )


def _callables(callbacks: Any) -> list[Callback]:
    calls = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    if isinstance(callbacks, Iterable) and all(map(callable, calls)):
        return calls
    raise SettingError(
        "fit: callbacks must be a list of functions that take the History, got "
        f"{callbacks!r}."
    )

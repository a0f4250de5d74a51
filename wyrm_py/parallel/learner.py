"""Online learning: one compiled step that goes on over chunk after chunk.

`fit` owns its examples and passes over them; a `Learner` is handed examples as they
come, in their order, while tables grow between the calls and under running workers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wyrm_py.data.columns import Column, take_columns
from wyrm_py.engines.plan import Plan, require_optimizer
from wyrm_py.errors import DivergenceError, SettingError
from wyrm_py.graph.limits import row_limits
from wyrm_py.graph.op import Array
from wyrm_py.growing_rows import GrowingLeaf
from wyrm_py.leaves import ParameterNode, require_node, require_nodes
from wyrm_py.nodes import Node
from wyrm_py.optim import Optimizer
from wyrm_py.optim.schedules import Schedule
from wyrm_py.parallel.online_step import Chunk, OnlineStep
from wyrm_py.parallel.pools import resolve_jobs
from wyrm_py.parallel.weighting import weigh
from wyrm_py.seeds import RandomState, seed_of

WAITING = 3
"""Chunks that may wait for workers; `submit` then waits for the oldest."""


class Learned:
    """What a chunk comes to, once workers have done it.

    Attributes
    ----------
    examples : int
    watched : {node: array (N, *node.shape)} of the learner's `watch`; complete once
        `loss` has returned
    """

    def __init__(self, chunk: Chunk, parts: list[Future[float]]) -> None:
        self.examples, self.watched = chunk.count, chunk.watched
        self._weight, self._parts = chunk.count * chunk.mean_weight, parts

    def is_done(self) -> bool:
        """Whether the chunk is done, so that `loss` will not wait."""
        return all(part.done() for part in self._parts)

    def loss(self) -> float:
        """Wait for the chunk; return the mean loss from before its updates.

        NaN if all of its weights are zero.

        Raises
        ------
        DivergenceError
            If a loss became NaN or infinite.
        """
        total = sum(part.result() for part in self._parts)
        if not np.isfinite(total):
            raise DivergenceError(
                "learn: the loss became NaN or infinite; parameters stay as they are. "
                "Lower the learning rate, or look for a division or a logarithm of "
                "zero."
            )
        return float(total / self._weight) if self._weight else math.nan


class Learner:
    """Train on examples as they come, once each, with a step compiled once.

    Parameters
    ----------
    loss : node of any shape; its elements are summed for the gradient
    optimizer : SGD, Adagrad, ...; settings changed between calls take effect. Where
        `fit` counts epochs, a schedule is given the number of examples seen
    n_jobs : worker threads (native steps hold no lock); -1 takes all cores. With one,
        the results depend neither on the time nor on how examples are cut into chunks
    batch_size : examples of one step, as for `fit`, or None for one at a time. A batch
        ends with its chunk
    random_state : seed of all samplers, or a Generator or RandomState
    watch : nodes whose values, from before each update, are written down (test, then
        train): of any fixed shape, with `batch_size` one row an example
    parameters : those to update; all trainable ones under the loss by default

    Attributes
    ----------
    examples : int, how many were handed in so far
    source : str, the printed function; "" before the first call

    Notes
    -----
    With one worker, parameters come to the same bits as by `fit(shuffle=False)` over
    all examples at once, if there are no samplers, or if there are so many examples
    (65,536 of a small model) that `fit` takes blocks of the largest size.

    Tables may grow (`HogwildParameter.grow`) at any time, and so may `GrowingRows`;
    row numbers are checked against the rows there are when a chunk is handed in.

    Raises
    ------
    GraphError, CompileError, SettingError
        As `fit`.
    """

    def __init__(
        self,
        loss: Node,
        optimizer: Optimizer,
        n_jobs: int = 1,
        batch_size: int | None = None,
        random_state: RandomState = None,
        watch: Iterable[Node] = (),
        parameters: Iterable[ParameterNode] | None = None,
    ) -> None:
        require_node("Learner", "loss", loss)
        require_optimizer("Learner", optimizer)
        whole = isinstance(batch_size, int | np.integer) and batch_size is not True
        if batch_size is not None and (not whole or batch_size < 1):
            raise SettingError(
                "Learner: batch_size must be an integer of at least 1, got "
                f"{batch_size!r}."
            )
        self.optimizer = optimizer
        self.examples = 0
        self._loss, self._watch = loss, list(watch)
        self._given = (
            None if parameters is None else require_nodes("Learner", parameters)
        )
        for node in self._watch:
            require_node("Learner", "watch", node)
        self._plan = self._planned(loss)
        self._jobs = resolve_jobs(n_jobs)
        leaves = self._plan.leaves()
        single = batch_size == 1 and all(leaf.shape[:1] == (1,) for leaf in leaves)
        self._batch = None if batch_size is None or single else int(batch_size)
        self._seed = seed_of("Learner", random_state)
        self._first = optimizer.epoch
        self._steps: dict[Any, OnlineStep] = {}
        self._weighted: tuple[Node, Any, Plan] | None = None
        self._held = self._state()
        self._limits = row_limits(self._plan.forward)
        self._streams: Array = np.zeros(0, np.uint64)
        self._block_size = 0
        self._parts = 0
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Learned] = deque()

    @property
    def inputs(self) -> list[Node]:
        """The nodes that `learn` needs a column of."""
        return list(self._plan.leaves())

    @property
    def source(self) -> str:
        """The function printed last."""
        return next((s.source.text for s in reversed(self._steps.values())), "")

    def learn(
        self, inputs: Mapping[Any, Any], weights: ArrayLike | None = None
    ) -> float:
        """Train on some examples; return their mean loss from before each update.

        Parameters
        ----------
        inputs : {node: column} for every input under the loss, as for `fit`; any
            number of examples, at least one
        weights : (N,) finite numbers >= 0, as for `fit`; the mean is then weighted,
            and NaN where all of them are zero

        Raises
        ------
        ShapeError, DTypeError, DataError, MissingColumnError, IndexRangeError
            Before anything changes.
        DivergenceError
            If a loss became NaN or infinite.
        """
        return self.submit(inputs, weights, wait=True).loss()

    def submit(
        self,
        inputs: Mapping[Any, Any],
        weights: ArrayLike | None = None,
        wait: bool = False,
    ) -> Learned:
        """Hand examples to the workers and return at once.

        The caller prepares the next chunk meanwhile; the arrays of this one must not
        be written to before its `loss()` has returned. With one worker chunks are done
        in their order. If several are waiting, the oldest is waited for.

        Parameters
        ----------
        inputs, weights
            As for `learn`.
        wait : bool
            Have the work done in the calling thread, if there is one worker and
            nothing is waiting.

        Raises
        ------
        As `learn`; what a waiting chunk raised comes from its own `loss()`.
        """
        self._follow()
        chunk, plan = self._take(inputs, weights)
        step = self._step(chunk, plan)
        here = wait and self._jobs == 1 and not self._busy()
        done = Learned(chunk, self._start(step, chunk, here))
        self.examples += chunk.count
        if isinstance(self.optimizer.learning_rate, Schedule):
            self.optimizer.epoch = self._first + self.examples
        if not here:
            self._waiting.append(done)
        while len(self._waiting) > WAITING:
            _settle(self._waiting.popleft())
        return done

    def drain(self) -> None:
        """Wait until all chunks that were handed in are done."""
        while self._waiting:
            _settle(self._waiting.popleft())

    def position(self) -> dict[str, Any]:
        """Return where one worker stands, as small JSON values, once it is done.

        With it, and the parameters and the optimizer as they were, another learner
        goes on to the same bits: see `go_to`.
        """
        self.drain()
        return {"examples": self.examples, "streams": self._streams.tolist()}

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Go on from the `position` of another learner with the same seed."""
        self.examples = int(position["examples"])
        self._streams = np.array(position["streams"], np.uint64)

    # -- checks, and the step ---------------------------------------------------------

    def _planned(self, loss: Node) -> Plan:
        return Plan.training(loss, self._given, self._watch)

    def _state(self) -> tuple[Any, ...]:
        """Return what a step is printed for, beside the columns."""
        held: list[tuple[Any, ...]] = []
        for leaf in (application.owner for application in self._plan.forward):
            if isinstance(leaf, ParameterNode):
                held.append((leaf.trainable, id(leaf.block), leaf.shape))
            elif isinstance(leaf, GrowingLeaf):
                held.append((leaf.rows.moves, leaf.rows.longest, leaf.shape))
        return tuple(held), self.optimizer.structure()

    def _follow(self) -> None:
        """Take in what changed since the last call: tables, what is frozen, the rule.

        What has only grown leaves a step as it is, unless its text names the old
        number of rows, or stands for a single one.
        """
        before, after = self._held, self._state()
        if before == after:
            return
        pairs = list(zip(before[0], after[0], strict=True))
        if before[1] != after[1] or any(old[:2] != new[:2] for old, new in pairs):
            self._steps.clear()
            self._weighted = None
            self._plan = self._planned(self._loss)
        self._limits = row_limits(self._plan.forward)
        grown = {old[2][0] for old, new in pairs if old[2] != new[2]}
        for key, step in list(self._steps.items()):
            if 1 in grown or grown & step.source.extents.named:
                del self._steps[key]
        self._held = after  # last: Ctrl-C may come anywhere before

    def _take(
        self, inputs: Mapping[Any, Any], weights: ArrayLike | None
    ) -> tuple[Chunk, Plan]:
        batched = self._batch is not None
        plan, mean_weight = self._plan, 1.0
        columns = take_columns(plan.leaves(), inputs, batched, "learn")
        total = next(iter(columns.values())).count if columns else 1
        for node, limit in self._limits.items():
            if node.application.owner in columns:
                columns[node.application.owner].check_rows(node, limit)
        if weights is not None:
            weighted = weigh("learn", self._loss, weights, total, batched)
            if self._weighted is None:
                leaf = weighted.column.leaf
                self._weighted = weighted.loss, leaf, self._planned(weighted.loss)
            _, leaf, plan = self._weighted
            columns[leaf] = Column.over(leaf, (total,), weighted.column.arrays)
            mean_weight = weighted.mean
        return Chunk(columns, total, mean_weight), plan

    def _step(self, chunk: Chunk, plan: Plan) -> OnlineStep:
        key = plan is self._plan, chunk.int32()
        step = self._steps.get(key)
        if step is None or not step.has_room_for(chunk):
            step = OnlineStep(plan, self.optimizer, chunk, self._batch, self._jobs)
            self._steps[key] = step
        if not self._block_size:
            self._block_size = step.block_size()
        step.watch(chunk)
        return step

    # -- running ----------------------------------------------------------------------

    def _start(self, step: OnlineStep, chunk: Chunk, here: bool) -> list[Future[float]]:
        """Have a chunk done, here or by the workers; return the sums of losses."""
        pieces = self._pieces(chunk)
        if here:
            done: Future[float] = Future()
            done.set_result(self._in_order(step, chunk, pieces))
            return [done]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._jobs, "wyrm_py learner")
        if self._jobs == 1:
            return [self._pool.submit(self._in_order, step, chunk, pieces)]
        parts = []
        for begin, end, _, settings in pieces:
            streams = step.started(self._seed, self._parts)
            self._parts += 1
            parts.append(
                self._pool.submit(step.run, chunk, begin, end, settings, streams)
            )
        return parts

    def _pieces(self, chunk: Chunk) -> list[tuple[int, int, int, Array]]:
        """Cut a chunk where blocks end: (begin, end, block, settings) of each piece.

        Blocks are counted from the first example of all, so that where chunks end
        changes nothing; ~block stands for the rest of one that was begun.
        """
        pieces, begin = [], 0
        while begin < chunk.count:
            block, inside = divmod(self.examples + begin, self._block_size)
            end = min(chunk.count, begin + self._block_size - inside)
            settings = self._settings(self.examples + begin - inside)
            pieces.append((begin, end, ~block if inside else block, settings))
            begin = end
        return pieces

    def _settings(self, examples: int) -> Array:
        """Return the optimizer's numbers after so many examples."""
        numbers, rate = self.optimizer.settings(), self.optimizer.learning_rate
        if isinstance(rate, Schedule):
            numbers["learning_rate"] = rate(self._first + examples)
        return np.array(list(numbers.values()))

    def _in_order(
        self,
        step: OnlineStep,
        chunk: Chunk,
        pieces: list[tuple[int, int, int, Array]],
    ) -> float:
        """Do a chunk as the only worker; streams go on within a block."""
        total = 0.0
        for begin, end, block, settings in pieces:
            if block >= 0 or not len(self._streams):
                self._streams = step.started(self._seed, max(block, ~block))
            total += step.run(chunk, begin, end, settings, self._streams)
        return total

    def _busy(self) -> bool:
        return not all(held.is_done() for held in self._waiting)


def _settle(learned: Learned) -> None:
    """Wait for a chunk; an error stays with it."""
    for part in learned._parts:
        part.exception()

"""One run of `fit`: the step is printed and compiled once, private parameters move
to shared memory if worker processes need them, blocks of examples are run, and
what was moved is written back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from wyrm_py.data.columns import Column
from wyrm_py.drawing import draw
from wyrm_py.engines.native.extents import Extents
from wyrm_py.engines.native.kernel import Binding, bind
from wyrm_py.engines.native.order import block_size_for, most_examples, step_work
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import Source, generate
from wyrm_py.engines.plan import Plan
from wyrm_py.engines.replica import Replica
from wyrm_py.errors import DataError, DivergenceError, SettingError
from wyrm_py.graph.limits import row_limits
from wyrm_py.graph.op import Array
from wyrm_py.graph.order import topological_order
from wyrm_py.leaves import ParameterNode
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.blocks import BlockReport, run_blocks
from wyrm_py.parallel.history import History
from wyrm_py.parallel.observers import Observers, Saver
from wyrm_py.parallel.rates import Rates
from wyrm_py.parallel.recording import Recording, restored
from wyrm_py.parallel.synchronous import run_rounds
from wyrm_py.parallel.tasks import Blocks, NativeRounds, NativeTask, NumpyTask
from wyrm_py.parameters import HogwildParameter, ParameterBlock, SharedArray
from wyrm_py.progress import progress_bar

CACHE_BYTES = 1 << 20
"""Tables above this (a core's second-level cache) have their rows prefetched."""


def check_columns(plan: Plan, columns: Mapping[Any, Column]) -> None:
    """Raise an IndexRangeError for a row number that native code must not see."""
    for node, limit in row_limits(plan.forward).items():
        if node.application.owner in columns:
            columns[node.application.owner].check_rows(node, limit)


class Run:
    """One call of `fit`, checked."""

    def __init__(
        self,
        plan: Plan,
        optimizer: Optimizer,
        columns: Mapping[Any, Column],
        total: int,
        jobs: int,
        backend: Literal["processes", "threads"],
        mode: str,
        engine: str,
        batch: int | None,
    ) -> None:
        self.plan, self.optimizer, self.columns = plan, optimizer, columns
        self.jobs, self.backend, self.mode, self.batch = jobs, backend, mode, batch
        self.native = engine == "native"
        # synchronous rounds are short: threads, whatever the backend
        self.shares = jobs > 1 and backend == "processes" and mode == "hogwild"
        self.structure = optimizer.structure()
        gradients = "collect" if mode == "synchronous" else "apply"
        self.source = self._print(gradients) if self.native else None
        self.extents = (
            Extents.of(topological_order(plan.ends()), batch is not None)
            if self.source is None
            else self.source.extents
        )
        most = most_examples(self._work(), batch or 1)
        size = block_size_for(total, jobs, batch or 1, most)
        self.blocks = Blocks(total, size, 0, True)

    def _print(self, gradients: Any = "apply") -> Source:
        int32 = frozenset(
            (leaf, part)
            for leaf, column in self.columns.items()
            for part, array in column.arrays.items()
            if array.dtype == np.int32
        )
        single = self.batch is None and self.mode == "hogwild"
        tables = [u.block.value.nbytes for u in self.plan.updates if u.pairs]
        return generate(
            self.plan,
            self.optimizer,
            Settings(
                batched=self.batch is not None,
                shuffled=True,
                prefetch=single and max(tables, default=0) > CACHE_BYTES,
                int32=int32,
                distinct=frozenset(
                    leaf for leaf, column in self.columns.items() if column.distinct
                ),
                gradients=gradients,
            ),
        )

    def _symbols(self) -> dict[str, int]:
        """Return the largest batch and ragged lengths of this run."""
        symbols = {"batch": self.batch or 1}
        for leaf, name in self.extents.ragged.items():
            symbols[name] = self.columns[leaf].longest * (self.batch or 1)
        return self.extents.with_found(symbols)

    def _work(self) -> int:
        """Return how many elements one step takes, roughly."""
        return step_work(self.plan.applications, self.extents.shapes, self._symbols())

    def train(
        self,
        epochs: int,
        observers: Observers,
        progress: bool,
        before: History,
        settings: dict[str, Any],
    ) -> History:
        """Run the epochs that come after `before` and report all of them."""
        report, first, optimizer = BlockReport(), len(before.losses), self.optimizer
        self._resume(before)
        optimizer.epoch = max(optimizer.epoch, first)
        self.rates = Rates(optimizer, epochs, self.blocks.count, first, self.shares)
        recording = Recording(before, report, self.rates, self.blocks, settings)
        history, exact = recording.history, optimizer.formulas().catches_up
        history.workers, history.graph = self.jobs, draw(self.plan.root).picture
        saver = None
        if observers.checkpoint is not None:
            nodes = self.plan.root.parameters()
            saver = Saver(observers.checkpoint, nodes, optimizer, recording)

        def on_epoch(epoch: int, _mean: float) -> bool:
            recording.update()
            self._catch_up(epoch)
            optimizer.epoch += 1
            stop = observers.end_epoch(history, self.jobs, moved, self._updated())
            self._take_settings(epoch + 1)
            check_columns(self.plan, self.columns)  # a callback may have written there
            return stop

        with (
            self._moved() as moved,
            progress_bar(progress) as show,
        ):
            # the bits must not depend on callbacks, nor on where a run was resumed
            after = on_epoch if observers.at_epochs or exact else None
            if before.unfinished is None:
                self._catch_up(0)
            self._drive(
                moved,
                epochs,
                on_progress=show,
                on_epoch=after,
                on_block=None if saver is None else saver.on_block,
                done=restored(before.unfinished, self.blocks),
                report=report,
            )
            self._catch_up(len(report.losses) - 1)
            if after is None:
                optimizer.epoch += len(report.losses)
            recording.update()
            if report.diverged is None:
                observers.finish(history, self._updated())
            if saver is not None and report.diverged is None:
                saver.write({})
        self._require_finite(report)
        return history

    def _drive(
        self, moved: Mapping[int, ParameterBlock], epochs: int, **given: Any
    ) -> None:
        """Run all blocks of all epochs, as the mode asks."""
        if self.mode == "synchronous":
            exact = self.optimizer.formulas().catches_up  # writes to rows
            work = 0 if exact else self._work()
            batch, workers = self.batch or 1, self._round_workers()
            run_rounds(workers, self.blocks, epochs, batch, work, **given)
        else:
            run_blocks(
                self._task(moved),
                blocks=self.blocks.count,
                epochs=epochs,
                n_jobs=self.jobs,
                backend=self.backend,
                **given,
            )

    def _resume(self, before: History) -> None:
        """Take over where an earlier run stopped, and how it cut an epoch."""
        self.blocks.seed, self.blocks.first_epoch = before.seed, len(before.losses)
        found = before.unfinished
        if found is None:
            return
        if found.examples != self.blocks.total:
            raise DataError(
                "fit: resume is from the middle of an epoch of "
                f"{found.examples} examples, the columns have {self.blocks.total}. "
                "Give the same data."
            )
        self.blocks.size = found.block_size

    def _updated(self) -> list[ParameterBlock]:
        """Return the blocks that are trained, as they are now."""
        return [update.nodes[0].block for update in self.plan.updates]

    def _take_settings(self, done: int) -> None:
        """Hand settings that a callback changed to the workers."""
        if self.optimizer.structure() != self.structure:
            raise SettingError(
                "fit: l1, l2, clips, momentum and the like cannot be switched on or "
                "off while a fit runs. Start with a value above zero and change that."
            )
        self.rates.write(self.optimizer, done)

    def _catch_up(self, epoch: int) -> None:
        """Bring all rows up to date, with the settings at the end of an epoch."""
        epoch = max(epoch, 0) + self.blocks.first_epoch
        numbers = self.rates.at(epoch, self.blocks.count - 1)
        nodes = [update.nodes[0] for update in self.plan.updates]
        self.optimizer.with_numbers(numbers).catch_up(nodes)

    @contextmanager
    def _moved(self) -> Iterator[dict[int, ParameterBlock]]:
        """Move private parameters to shared memory, and back whatever happens."""
        moved: dict[int, Any] = {}
        nodes = [
            node
            for node in self.plan.root._leaves()
            if self.shares
            and isinstance(node, ParameterNode)
            and not isinstance(node.block, HogwildParameter)
        ]
        private = {id(node.block): node.block for node in nodes}
        if self.shares:
            for block in private.values():
                moved[id(block)] = HogwildParameter.share(block)
            for update in self.plan.updates:  # state appears before workers attach
                self.optimizer.state(moved.get(id(update.block), update.block))
        try:
            for node in nodes:  # callbacks see and set what the workers work on
                node.move(moved[id(node.block)])
            yield moved
        finally:
            for update in self.plan.updates:
                if id(update.block) in moved:
                    moved[id(update.block)].copy_into(update.block)
            back = {id(moved[key]): block for key, block in private.items()}
            for node in nodes:
                node.move(back.get(id(node.block), node.block))

    def _flat(self) -> dict[Any, Any]:
        """Return the columns' arrays, in shared memory if workers need them so."""
        share = SharedArray.copy_of if self.shares else lambda array: array
        return {
            (leaf, part): share(array)
            for leaf, column in self.columns.items()
            for part, array in column.arrays.items()
        }

    def _task(self, moved: Mapping[int, ParameterBlock]) -> Any:
        flat = self._flat()
        if self.source is not None:
            return NativeTask(
                self._bind(flat, moved, self.source), self.blocks, self.rates
            )
        replica, number = Replica.of(self.plan.root, moved)
        nodes = [node for update in self.plan.updates for node in update.nodes]
        columns = {
            number[leaf]: (
                column.shape,
                {part: flat[leaf, part] for part in column.arrays},
            )
            for leaf, column in self.columns.items()
        }
        return NumpyTask(
            replica,
            [number[node] for node in nodes],
            columns,
            self.optimizer.with_numbers(self.rates.at(self.blocks.first_epoch, 0)),
            self.rates,
            self.blocks,
            self.batch,
        )

    def _round_workers(self) -> list[Any]:
        task, count = self._task({}), min(self.jobs, self.blocks.count)
        if isinstance(task, NumpyTask):
            return [task.worker() for _ in range(count)]
        applying = self._print("apply collected")
        workers = []
        for _ in range(count):
            memory: dict[str, Array] = {}
            flat = self._flat()
            collect = self._bind(flat, {}, self.source, memory)  # type: ignore[arg-type]
            apply = self._bind(flat, {}, applying, memory)
            workers.append(NativeRounds(collect, apply, self.blocks, self.rates))
        return workers

    def _bind(
        self,
        flat: Any,
        moved: Mapping[int, ParameterBlock],
        source: Source,
        collected: dict[str, Array] | None = None,
    ) -> Binding:
        return bind(
            source,
            flat,
            self._symbols(),
            settings=list(self.optimizer.settings().values()),
            collected=collected,
            block_size=self.blocks.size,
            blocks=moved,
            share=self.shares,
        )

    def _require_finite(self, report: BlockReport) -> None:
        for update in self.plan.updates:
            name = update.nodes[0].name or repr(update.nodes[0])
            if not all(map(all_finite, update.block.slots().values())):
                raise DivergenceError(
                    f"fit: what the optimizer keeps for parameter {name} became NaN or "
                    "infinite, so that it no longer learns; parameters stay as they "
                    "are. Lower the learning rate, make the loss or the weights "
                    "smaller, or set `clip` or `clip_norm`."
                )
            if not all_finite(update.block.value):
                raise DivergenceError(
                    f"fit: parameter {name} became NaN or infinite and the training "
                    "stopped; parameters stay as they are. Lower the learning rate, "
                    "or set `clip` or `clip_norm`."
                )
        if report.diverged is not None:
            epoch = self.blocks.first_epoch + report.diverged[0]
            raise DivergenceError(
                f"fit: the loss became NaN or infinite in epoch {epoch} "
                "and the training stopped; parameters stay as they are. Lower the "
                "learning rate, or look for a division or a logarithm of zero."
            )


def all_finite(array: Array, chunk: int = 1 << 18) -> bool:
    """Whether every element is finite, without a table-sized temporary."""
    flat = array.reshape(-1)
    return all(
        bool(np.isfinite(flat[k : k + chunk]).all()) for k in range(0, len(flat), chunk)
    )

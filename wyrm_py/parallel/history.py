"""What a training run reports: one loss an epoch, and how fast it went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """Record of a training run; callbacks get it while it grows.

    Attributes
    ----------
    losses : list of float
        Mean loss of each epoch.
    seconds : float
        Time of training proper: from all workers ready to the last block done,
        without compilation, start of workers, checks of columns, callbacks.
    samples_per_second : float
        Examples of all epochs divided by `seconds`.
    workers : int
        Number of workers that trained.
    seed : int
        From it come the order of examples and all draws, epoch by epoch.
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    samples_per_second: float = 0.0
    workers: int = 1
    seed: int = 0

    def __repr__(self) -> str:
        epochs = f"{len(self.losses)} epoch" + "s" * (len(self.losses) != 1)
        workers = f"{self.workers} worker" + "s" * (self.workers != 1)
        loss = ""
        if self.losses:
            loss = f", loss {self.losses[0]:.6g}"
            if len(self.losses) > 1:
                loss += f" -> {self.losses[-1]:.6g}"
        return (
            f"History({epochs}{loss}, {self.seconds:.3g} s, "
            f"{self.samples_per_second:,.0f} samples/s, {workers})"
        )

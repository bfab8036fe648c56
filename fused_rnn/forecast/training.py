"""The network, and its training twice: once with our layer and once with torch.nn's.

The two see the same initial weights, the same batches in the same order and the same optimiser, so
that their losses differ by rounding only. Their epochs alternate, so that noise on the machine hits
both, and only the training itself is timed.
"""

import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

BATCH = 128
LEARNING_RATE = 3e-3
GRADIENT_NORM = 1.0


class Windows(NamedTuple):
    """A normalised series [steps] as windows, each with its target."""

    values: Tensor
    window: int
    horizon: int

    def batch(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Windows [batch, window] and values [batch] of the targets' steps [batch]."""
        begin = targets - (self.window - 1 + self.horizon)
        return self.values.unfold(0, self.window, 1)[begin], self.values[targets]


class Forecaster(nn.Module):
    """A recurrent layer over the window; a linear head adds a change to the window's last value.

    **Arguments:**

    - `library`: the package with the layers `RNN`, `LSTM` and `GRU`: `fused_rnn` or `torch.nn`.
    - `cell`: `"rnn"`, `"gru"` or `"lstm"`.
    - `hidden`, `layers`, `bidirectional`: as in torch.nn.
    """

    def __init__(
        self, library: ModuleType, cell: str, hidden: int, layers: int, bidirectional: bool
    ) -> None:
        super().__init__()
        layer = getattr(library, cell.upper())
        self.directions = 2 if bidirectional else 1
        self.recurrent = layer(1, hidden, num_layers=layers, bidirectional=bidirectional)
        self.head = nn.Linear(self.directions * hidden, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Forecasts [batch] from windows [batch, window]."""
        _, state = self.recurrent(windows.t().unsqueeze(-1))  # [window, batch, 1]
        h_n = state[0] if isinstance(state, tuple) else state
        last = h_n[-self.directions :]  # of [layers * directions, batch, hidden]
        last = last.transpose(0, 1).flatten(1)  # [batch, directions * hidden]
        change: Tensor = self.head(last).squeeze(-1)
        return windows[:, -1] + change


class Trainer:
    """Trains one forecaster, one epoch a call, and keeps the weights of its best epoch.

    `losses`, `validation_losses` (mean squared errors of the normalised series) and `seconds` have
    one entry an epoch.
    """

    def __init__(
        self, name: str, model: Forecaster, windows: Windows, train: Tensor, epochs: int, seed: int
    ) -> None:
        self.name = name
        self.model = model
        self.windows = windows
        self.train = train
        self.order = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, epochs)
        self.losses: list[float] = []
        self.validation_losses: list[float] = []
        self.seconds: list[float] = []
        self.best = self._weights()

    def warm_up(self) -> None:
        """Runs a few batches forward and backward; leaves the weights as they are."""
        for targets in self.train.split(BATCH)[:3]:
            self._loss(targets).backward()
        self.optimiser.zero_grad()

    def train_epoch(self) -> None:
        """Runs one epoch over the training part, in a random order."""
        begin = time.perf_counter()
        total = 0.0
        for index in torch.randperm(len(self.train), generator=self.order).split(BATCH):
            loss = self._loss(self.train[index])
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
            self.optimiser.step()
            total += loss.item() * len(index)
        self.seconds.append(time.perf_counter() - begin)
        self.schedule.step()
        self.losses.append(total / len(self.train))

    def validate(self, targets: Tensor) -> None:
        """Measures the error at the targets [count] and keeps the weights if they are the best."""
        forecast, values = self.forecast(targets), self.windows.values[targets]
        loss = (forecast - values).square().mean().item()
        if loss < min(self.validation_losses, default=float("inf")):
            self.best = self._weights()
        self.validation_losses.append(loss)

    def forecast(self, targets: Tensor) -> Tensor:
        """Normalised forecasts [count] at the targets' steps [count]."""
        with torch.no_grad():
            batches = [self.model(self.windows.batch(some)[0]) for some in targets.split(1024)]
        return torch.cat(batches)

    def restore_best(self) -> None:
        """Goes back to the weights of the best epoch."""
        self.model.load_state_dict(self.best)

    def _loss(self, targets: Tensor) -> Tensor:
        windows, values = self.windows.batch(targets)
        loss: Tensor = (self.model(windows) - values).square().mean()
        return loss

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def train_in_turns(
    trainers: Sequence[Trainer],
    validation: Tensor,
    epochs: int,
    progress: Callable[[Trainer], None],
) -> None:
    """Trains every trainer for `epochs` epochs, one epoch each in turn, and restores their best.

    `progress` is called after each epoch of each trainer.
    """
    for trainer in trainers:
        trainer.warm_up()
    for _ in range(epochs):
        for trainer in trainers:
            trainer.train_epoch()
            trainer.validate(validation)
            progress(trainer)
    for trainer in trainers:
        trainer.restore_best()

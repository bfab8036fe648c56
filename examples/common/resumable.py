"""A training that a checkpoint stops and goes on from, in the middle of an epoch, to the bit.

Random numbers come from four places: the order of the batches and the noise that worker processes
add (one generator, the loader's), the length of a batch's windows (Python's), the offset of its
thermometer (NumPy's), and dropout and the first weights (PyTorch's).
"""

import hashlib
import random
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

import fused_rnn
from common.seeds import seed_everything
from fused_rnn.forecast.training import Windows

HIDDEN, BATCH, WORKERS = 32, 128, 2
LEARNING_RATE = 1e-2
NOISE, OFFSET = 0.05, 0.02  # in standard deviations of the series

WorkerInit = Callable[[int], None]


class NoisyWindows(Dataset[tuple[Tensor, Tensor]]):
    """Windows with their targets; each has noise from this dataset's own generator."""

    def __init__(self, windows: Windows, targets: Tensor) -> None:
        self.windows = windows
        self.targets = targets
        self.generator = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        window, target = self.windows.batch(self.targets[index])
        noise = self.generator.normal(0, NOISE, len(window)).astype(np.float32)
        return window + torch.from_numpy(noise), target


def seed_worker(worker: int) -> None:
    """Gives each worker noise of its own: all start with a copy of the dataset's generator.

    torch.initial_seed() is the loader's draw for this epoch plus the worker's number.
    """
    info = get_worker_info()
    assert info is not None
    cast(NoisyWindows, info.dataset).generator = np.random.default_rng(torch.initial_seed())


def new_loader(
    data: NoisyWindows,
    generator: torch.Generator,
    workers: int = WORKERS,
    worker_init_fn: WorkerInit | None = seed_worker,
) -> "DataLoader[tuple[Tensor, Tensor]]":
    """Batches in a random order, made by worker processes."""
    return DataLoader(
        data,
        BATCH,
        shuffle=True,
        num_workers=workers,
        worker_init_fn=worker_init_fn,
        generator=generator,
    )


class Forecaster(nn.Module):
    """Two LSTM layers with dropout; a linear head adds a change to the last value."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = fused_rnn.LSTM(1, HIDDEN, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Forecasts [batch] from windows [batch, steps]."""
        output, _ = self.lstm(windows.unsqueeze(-1))
        change: Tensor = self.head(output[:, -1]).squeeze(-1)
        return windows[:, -1] + change


class Part(NamedTuple):
    """How to read a part of the state, and how to put it back."""

    get: Callable[[], Any]
    put: Callable[[Any], Any]


class Run:
    """A training of `steps` batches in all, from its first weights; `losses` has one a step."""

    def __init__(self, data: NoisyWindows, seed: int, steps: int, workers: int = WORKERS) -> None:
        seed_everything(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.loader = new_loader(data, self.generator, workers)
        self.model = Forecaster()
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, steps)
        self.epoch_began = self.generator.get_state()
        self.position = 0  # batches of this epoch that are done
        self.losses: list[float] = []

    def train(self, until: int) -> None:
        """Goes on until so many steps are done; the batches of the epoch so far are skipped."""
        while len(self.losses) < until:
            self.epoch_began = self.generator.get_state()
            for windows, targets in islice(self.loader, self.position, None):
                self._step(windows, targets)
                self.position += 1
                if len(self.losses) == until:
                    return
            self.position = 0

    def _step(self, windows: Tensor, targets: Tensor) -> None:
        shortened = windows[:, random.randrange(windows.size(1) // 2) :]
        forecasts = self.model(shortened + float(np.random.normal(0, OFFSET)))
        loss = (forecasts - targets).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.losses.append(loss.item())

    def parts(self) -> dict[str, Part]:
        """All that the next step depends on, by name."""
        return {
            "model": Part(self.model.state_dict, self.model.load_state_dict),
            "optimiser": Part(self.optimiser.state_dict, self.optimiser.load_state_dict),
            "schedule": Part(self.schedule.state_dict, self.schedule.load_state_dict),
            "python": Part(random.getstate, random.setstate),
            "numpy": Part(_numpy_state, np.random.set_state),
            "torch": Part(torch.get_rng_state, torch.set_rng_state),
            "loader": Part(lambda: self.epoch_began, self.generator.set_state),
            "position": Part(lambda: self.position, lambda at: setattr(self, "position", at)),
            "losses": Part(self.losses.copy, self.losses.extend),
        }

    def state_dict(self) -> dict[str, Any]:
        """The run's state, for torch.save."""
        return {name: part.get() for name, part in self.parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state` has; the rest stays as the seed left it."""
        for name, value in state.items():
            self.parts()[name].put(value)


def _numpy_state() -> tuple[Any, ...]:
    """NumPy's state without an array, which torch.load(weights_only=True) would refuse."""
    name, keys, *rest = np.random.get_state()
    return name, np.asarray(keys).tolist(), *rest


def fingerprint(model: nn.Module) -> str:
    """The first digits of a SHA-256 over the bytes of all weights."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:12]


def largest_difference(model: nn.Module, other: nn.Module) -> float:
    """Of any weight."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)

"""Training an LSTM on the temperature series, in this process or shared by those of `torchrun`."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler
from tqdm import tqdm

import fused_rnn
from common.temperature import Temperature
from fused_rnn.forecast.training import Forecaster

WINDOW, HORIZON = 48, 6  # hours
LEARNING_RATE = 3e-3


class Run(NamedTuple):
    """A loss and a time an epoch, and the weights at the end."""

    losses: list[float]
    seconds: list[float]
    weights: dict[str, Tensor]

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, the median."""
        return statistics.median(self.seconds)


def processes() -> tuple[int, int]:
    """The number of this process and how many there are."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def windows(dtype: torch.dtype) -> TensorDataset:
    """The training part of the series: two days, [windows, hours], and the value six hours on."""
    training = Temperature(WINDOW, HORIZON).training().to(dtype)
    past = training[:-HORIZON].unfold(0, WINDOW, 1)
    return TensorDataset(past, training[WINDOW - 1 + HORIZON :])


def train(name: str, batch: int, dtype: torch.dtype, hidden: int, epochs: int, seed: int) -> Run:
    """Trains on batches of `batch` windows in all, of which each process has its part."""
    rank, world = processes()
    torch.manual_seed(seed)
    model: nn.Module = Forecaster(fused_rnn, "lstm", hidden, layers=1, bidirectional=False)
    model.to(dtype)
    if world > 1:
        model = DistributedDataParallel(model)
    data = windows(dtype)
    sampler: DistributedSampler[tuple[Tensor, ...]] = DistributedSampler(
        data, world, rank, seed=seed, drop_last=True
    )
    loader = DataLoader(data, batch // world, sampler=sampler, drop_last=True)
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    losses, seconds = [], []
    for epoch in tqdm(range(epochs), name, unit="epoch", disable=rank > 0):
        begin = time.perf_counter()
        sampler.set_epoch(epoch)
        total = torch.zeros((), dtype=dtype)
        for past, target in loader:
            loss = (model(past) - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach()
        losses.append(mean_of_processes(total / len(loader)).item())
        seconds.append(time.perf_counter() - begin)
    weights = {key.removeprefix("module."): w for key, w in model.state_dict().items()}
    return Run(losses, seconds, weights)


def mean_of_processes(value: Tensor) -> Tensor:
    """The mean of what the processes have, in each of them."""
    _, world = processes()
    if world > 1:
        distributed.all_reduce(value)
    return value / world

"""Two processes, each on its part of the batch, train as one process does on the whole of it.

By DDP, which keeps the weights whole in each process, and by FSDP2, which shards them. The one
process has torch.nn's layers. torch.nn's own layers pass the same tests.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fused_rnn
import processes
from cases import CELLS, Case, over, random
from compare import Results, assert_as_accurate, assert_same
from processes import Processes

if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

from torch import distributed
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

pytestmark = pytest.mark.slow
each_way = pytest.mark.parametrize("way", ["ddp", "fsdp2"])

STEPS = 3  # of the optimiser
DEEP = {"num_layers": 2, "bidirectional": True}
LENGTHS = (2, 9, 1, 9, 4)


def _cases(cell: str, **options: Any) -> list[Case]:
    """Dense and packed; of five sequences a process has three or two, of one it may have none."""
    return [
        Case(cell, batch=6, **DEEP, **options),
        Case(cell, steps=9, batch=5, lengths=LENGTHS, **DEEP, **options),
        Case(cell, batch=1, bias=False, **options),
    ]


TABLE = [case for cell in CELLS for case in _cases(cell)] + _cases("lstm", proj_size=3)
DENSE = [case for case in TABLE if case.batch == 6]


class Model(nn.Module):
    """The layers of a case and a linear head."""

    def __init__(self, case: Case, library: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.recurrent = case.module(library, dtype)
        self.head = nn.Linear(case.out_size * (1 + case.bidirectional), 2).to(dtype)

    def forward(self, input: Tensor | PackedSequence) -> Tensor:
        output, _ = self.recurrent(input)
        prediction: Tensor = self.head(output[0] if isinstance(input, PackedSequence) else output)
        return prediction


def prepared(
    case: Case, library: str, dtype: torch.dtype, way: str
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model, wrapped for this way of training, and its optimiser."""
    with torch.device("meta" if way == "fsdp2 from meta" else "cpu"):
        model: nn.Module = Model(case, {"fused_rnn": fused_rnn, "torch.nn": nn}[library], dtype)
    if way == "ddp":
        model = DistributedDataParallel(model)
    elif way.startswith("fsdp2"):  # in its usual way: each block, then what is left
        mesh = init_device_mesh("cpu", (processes.WORLD,))
        fully_shard(model.recurrent, mesh=mesh)
        fully_shard(model, mesh=mesh)
    if way == "fsdp2 from meta":
        model.to_empty(device="cpu")
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def part_of_batch(case: Case, dtype: torch.dtype) -> tuple[Any, Tensor]:
    """Input and target of this process's sequences; of all where it is alone."""
    rank, world = 0, 1
    if distributed.is_initialized():
        rank, world = distributed.get_rank(), distributed.get_world_size()
    x = random(case.steps, case.batch, case.input_size, dtype=dtype, seed=21)
    y = random(case.steps, case.batch, 2, dtype=dtype, seed=22)
    x, y = x[:, rank::world], y[:, rank::world]
    if case.lengths is None:
        return x, y
    lengths = torch.tensor(case.lengths[rank::world])
    packed = [pack_padded_sequence(data, lengths, enforce_sorted=False) for data in (x, y)]
    return packed[0], packed[1].data


def train(
    model: nn.Module, optimiser: torch.optim.Optimizer, case: Case, dtype: torch.dtype
) -> Results:
    """The losses of the whole batch, and the weights after the last step, whole as well.

    A process takes its sum times the number of processes over the whole batch: the mean of the
    processes' gradients, which DDP and FSDP2 take, is then the gradient of the whole batch's loss,
    for any division of it.
    """
    world = distributed.get_world_size() if distributed.is_initialized() else 1
    input, target = part_of_batch(case, dtype)
    losses = torch.empty(STEPS, dtype=dtype)
    for step in range(STEPS):
        loss = (model(input) - target).square().sum() * world / case.rows
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses[step] = loss.detach()
    if world > 1:
        distributed.all_reduce(losses)
    return {"losses": losses / world, **whole(model)}


def whole(model: nn.Module) -> Results:
    """The weights under torch.nn's names, gathered from all processes."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    weights = model.state_dict().items()
    return {n: w.full_tensor() if isinstance(w, DTensor) else w.clone() for n, w in weights}


def trained(case: Case, library: str, dtype: torch.dtype, way: str) -> Results:
    """What `train` gives from the start."""
    return train(*prepared(case, library, dtype, way), case, dtype)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes.started(tmp_path_factory.mktemp("processes")) as pair:
        yield pair


@each_way
@over(TABLE)
def test_trains_as_torch_nn_alone(pair: Processes, case: Case, way: str) -> None:
    expected = trained(case, "torch.nn", torch.float64, "alone")
    for results in pair.run(trained, case, "fused_rnn", torch.float64, way):
        assert_same(results, expected)


@each_way
@over([case for case in DENSE if case.cell != "rnn_relu"])  # whose derivative jumps, smooth() says
def test_trains_in_float32(pair: Processes, case: Case, way: str) -> None:
    alone = trained(case, "torch.nn", torch.float32, "alone")
    exact = trained(case, "torch.nn", torch.float64, "alone")
    for results in pair.run(trained, case, "fused_rnn", torch.float32, way):
        assert_as_accurate(results, alone, exact)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # said of one process
@over(DENSE)
def test_checkpoints_move(pair: Processes, case: Case, tmp_path: Path) -> None:
    """From two processes to torch.nn in one, and back to two whose model never was whole."""
    first, second = tmp_path / "first", tmp_path / "second"
    alone = prepared(case, "torch.nn", torch.float64, "alone")
    expected = [train(*alone, case, torch.float64) for _ in range(3)]
    for results in pair.run(resumed, case, "fused_rnn", "fsdp2", None, first):
        assert_same(results, expected[0])
    assert_same(resumed(case, "torch.nn", "alone", first, second), expected[1])
    for results in pair.run(resumed, case, "fused_rnn", "fsdp2 from meta", second, None):
        assert_same(results, expected[2])


def resumed(
    case: Case, library: str, way: str, source: Path | None, target: Path | None
) -> Results:
    """`train` from a checkpoint to a checkpoint, where they are given."""
    model, optimiser = prepared(case, library, torch.float64, way)
    if source is not None:
        weights, momenta = get_state_dict(model, optimiser)
        checkpoint.load({"weights": weights, "momenta": momenta}, checkpoint_id=source)
        set_state_dict(model, optimiser, model_state_dict=weights, optim_state_dict=momenta)
    results = train(model, optimiser, case, torch.float64)
    if target is not None:
        weights, momenta = get_state_dict(model, optimiser)
        checkpoint.save({"weights": weights, "momenta": momenta}, checkpoint_id=target)
    return results

"""A seeded differential fuzz: random configurations, ours and torch.nn side by side.

FUSED_RNN_FUZZ=1000 runs so many; FUSED_RNN_FUZZ_SEED=42 starts at another seed. A failure prints
the configuration, and its test is named after the seed.
"""

import os
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import fused_rnn
from cases import CELLS, DTYPES, Case
from compare import Results, assert_as_accurate, assert_same, run_module

COUNT = int(os.environ.get("FUSED_RNN_FUZZ", "60"))
FIRST = int(os.environ.get("FUSED_RNN_FUZZ_SEED", "0"))


def random_case(rng: random.Random) -> Case:
    cell = rng.choice(CELLS)
    hidden_size = rng.choice((1, 2, 3, 5, 8, 13, 16, 17, 31, 32, 48, 65))
    steps, batch = rng.randint(1, 12), rng.choice((1, 1, 2, 3, 4, 7, 8, 16, 19))
    lengths = None
    if rng.random() < 0.4:
        lengths = tuple(rng.randint(1, steps) for _ in range(batch))
        steps = max(lengths)
        if rng.random() < 0.3:
            lengths = tuple(sorted(lengths, reverse=True))
    proj_size = 0
    if cell == "lstm" and hidden_size > 1 and rng.random() < 0.3:
        proj_size = rng.randint(1, hidden_size - 1)
    return Case(
        cell,
        input_size=rng.randint(1, 20),
        hidden_size=hidden_size,
        num_layers=rng.choice((1, 1, 2, 3)),
        bidirectional=rng.random() < 0.4,
        bias=rng.random() < 0.7,
        batch_first=rng.random() < 0.4,
        proj_size=proj_size,
        steps=steps,
        batch=batch,
        lengths=lengths,
    )


def restride(rng: random.Random, tensor: Tensor) -> Tensor:
    """The same values in another layout."""
    layout = rng.choice(("contiguous", "permuted", "cut"))
    if layout == "permuted":
        order = rng.sample(range(tensor.dim()), tensor.dim())
        inverse = [order.index(dim) for dim in range(tensor.dim())]
        return tensor.permute(order).contiguous().permute(inverse)
    if layout == "cut":
        return tensor.repeat_interleave(2, -1)[..., 1::2]
    return tensor


def cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, tuple) and not isinstance(value, PackedSequence):
        return tuple(item.to(dtype) for item in value)
    return value if value is None else value.to(dtype)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_fuzz(seed: int) -> None:
    rng = random.Random(seed)
    case, dtype = random_case(rng), rng.choice((torch.float64, *DTYPES))
    dropout = rng.choice((0.0, 0.3)) if case.num_layers > 1 and dtype == torch.float64 else 0.0
    x: Any = case.input(dtype)
    x = restride(rng, x) if isinstance(x, Tensor) else x
    hx: Any = case.state(dtype) if rng.random() < 0.5 else None
    if isinstance(hx, tuple):
        hx = tuple(restride(rng, state) for state in hx)
    elif hx is not None:
        hx = restride(rng, hx)
    training, threads = rng.random() < 0.8, rng.choice((1, 1, 1, 2))
    print(f"seed {seed}: {case} {dtype} dropout={dropout} training={training} threads={threads}")
    torch.set_num_threads(threads)

    def run(library: Any, run_dtype: torch.dtype) -> Results:
        module = case.module(library, dtype, dropout=dropout).to(run_dtype).train(training)
        torch.manual_seed(seed)
        return run_module(module, cast(x, run_dtype), cast(hx, run_dtype))

    ours, exact = run(fused_rnn, dtype), run(nn, torch.float64)
    if dtype == torch.float64:
        assert_same(ours, exact)
        return
    theirs = run(nn, dtype)
    if case.cell == "rnn_relu":  # its derivative jumps: see test_torch_nn.py
        names = [name for name in exact if name.startswith("output")]
        ours, theirs, exact = ({n: r[n] for n in names} for r in (ours, theirs, exact))
    assert_as_accurate(ours, theirs, exact)

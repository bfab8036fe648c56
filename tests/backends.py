"""What a property of the table is run on: the CPU, the CUDA half by the emulator, and a GPU.

A test takes them by `each_backend` and the fixture `backend`, and hands every tensor to
`backend.place`. The emulator has three devices, so that each path of the plan takes every case. How
it runs is said by the environment: FUSED_RNN_EMULATED is the build (plain, asan, race; see
emulator/build.py) and FUSED_RNN_ORDER the schedule (fifo, lifo or random:SEED).
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from emulator import build
from fused_rnn import _C


@dataclass(frozen=True)
class Backend:
    """Where the tensors of a test lie; while it is active, the ops run there."""

    name: str
    device: str = "cpu"
    multiprocessors: int | None = None  # of the emulated device
    shared_bytes: int = 0  # likewise, what a block may have

    @property
    def emulated(self) -> bool:
        return self.multiprocessors is not None

    def place(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with their tensors on the device, but for batch_sizes."""
        return {
            name: value.to(self.device)
            if isinstance(value, Tensor) and name != "batch_sizes"
            else value
            for name, value in arguments.items()
        }

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Skips the test, with the reason, where the backend cannot run."""
        if self.device == "cuda" and not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        if not self.emulated:
            yield
            return
        if not build.available():
            pytest.skip("the emulator needs Linux and g++")
        emulated = emulated_module()
        emulated.device(multiprocessors=self.multiprocessors, shared_bytes=self.shared_bytes)
        set_schedule(os.environ.get("FUSED_RNN_ORDER", "fifo"))
        with emulated.Backend(), uninitialised_is_nan():
            yield


SHARED_BYTES = 227 * 1024  # of sm_90

# No shared memory, no persistent kernel; as many multiprocessors as sequences, one for each.
STEPS = Backend("emulated-steps", multiprocessors=4, shared_bytes=0)
ONE_A_BLOCK = Backend("emulated-persistent-1", multiprocessors=1000, shared_bytes=SHARED_BYTES)
FOUR_A_BLOCK = Backend("emulated-persistent-4", multiprocessors=1, shared_bytes=SHARED_BYTES)
EMULATED = (STEPS, ONE_A_BLOCK, FOUR_A_BLOCK)
CPU, CUDA = Backend("cpu"), Backend("cuda", device="cuda")

# The instruction sets of the CPU with kernels of their own: avx512_bf16 has AVX-512's, but for
# layers of bfloat16 (test_bfloat16.py).
ISAS = [isa for isa in _C.available_cpu_isas() if isa not in ("avx512_bf16", "amx")]


def over_backends(*backends: Backend) -> pytest.MarkDecorator:
    """Run a test on backends, through the fixture `backend`."""
    marks = {"cuda": pytest.mark.gpu, "cpu": ()}
    values = [
        pytest.param(b, id=b.name, marks=marks.get(b.name, pytest.mark.emulated)) for b in backends
    ]
    return pytest.mark.parametrize("backend", values, indirect=True)


each_backend = over_backends(CPU, *EMULATED, CUDA)
each_emulated = over_backends(*EMULATED)


@functools.cache
def emulated_module() -> ModuleType:
    """The module of the chosen build, compiled where it is not up to date."""
    module = os.environ.get("FUSED_RNN_EMULATED_MODULE")
    mode = os.environ.get("FUSED_RNN_EMULATED", "plain")
    return build.load(Path(module) if module else build.build_module(mode))


def set_schedule(text: str) -> None:
    """fifo, lifo or random:SEED."""
    order, _, seed = text.partition(":")
    emulated_module().options(order=order, seed=int(seed or 1))


@contextlib.contextmanager
def uninitialised_is_nan() -> Iterator[None]:
    """New tensors start as NaN: what a kernel does not write, or reads too early, is seen."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)

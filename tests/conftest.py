"""What every test needs: a word on a warning of torch, and global state as it was before."""

import os
from collections.abc import Iterator

import pytest
import torch

from fused_rnn import _C

# Warnings are errors, but for those that torch itself causes and that say nothing about us.
TORCH_WARNINGS = (
    "ignore:LSTM with projections is not supported with oneDNN:UserWarning",
    "ignore:`torch.jit.script(_method)?` is deprecated:DeprecationWarning",  # its own imports
)


def pytest_configure(config: pytest.Config) -> None:
    for warning in TORCH_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)


@pytest.fixture(autouse=True)
def _restore_global_state() -> Iterator[None]:
    """Seeds the test and puts back threads and instruction set, whatever it did to them.

    One thread, since the sizes are small: where other processes hold the cores, OpenMP's waits take
    a hundred times as long as the work. test_threads.py uses more, and FUSED_RNN_TEST_THREADS=2
    gives every test two.
    """
    threads, isa = torch.get_num_threads(), _C.cpu_isa()
    torch.set_num_threads(int(os.environ.get("FUSED_RNN_TEST_THREADS", "1")))
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    _C.set_cpu_isa(isa)

"""examples/distributed.py: two processes with half of the batch each train as one does."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import examples

pytestmark = pytest.mark.slow
examples.needs()
if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    numbers = examples.run("distributed", tmp_path)["numbers"]
    for dtype in (torch.float32, torch.float64):
        found = numbers[str(dtype).removeprefix("torch.")]
        allowed = 100 * torch.finfo(dtype).eps  # of a hundred and more steps of Adam
        assert found["loss_difference"] < allowed
        assert found["weight_difference"] < allowed
    one, whole = numbers["one"]["loss"], numbers["two_whole"]["loss"]
    assert abs(one - whole) > 0.01 * one  # half as many steps lead elsewhere


def test_a_batch_must_divide(tmp_path: Path) -> None:
    command = [sys.executable, examples.FOLDER / "distributed.py", "--batch=7"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 2
    assert "must be a multiple of 2" in process.stderr

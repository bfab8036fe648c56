"""Starting a script on several processes of this machine, and what it brings back."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

RESULT = "torchrun.pt"


def launch(script: str, count: int, options: Mapping[str, object]) -> Any:
    """What the script's first process leaves, run as `torchrun --nproc-per-node COUNT` runs it.

    A process has one thread, and they talk over the loopback interface.
    """
    environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **os.environ}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    with tempfile.TemporaryDirectory() as folder:
        given = [f"--{name}={value}" for name, value in {**options, "out": folder}.items()]
        command = [*torchrun, f"--nproc-per-node={count}", script, *given]
        if subprocess.run(command, env=environment, stdout=sys.stderr).returncode:
            raise SystemExit(f"{script} failed on {count} processes; the reason is above")
        return torch.load(Path(folder) / RESULT)


def leave(result: Any, folder: Path) -> None:
    """Leaves tensors and numbers, in tuples and dicts, for `launch`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(result, folder / RESULT)

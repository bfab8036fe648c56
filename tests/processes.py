"""Two processes on this machine that run a function together, joined by gloo as `torchrun` would.

They meet at a file, so that no port need be free, and speak over the loopback interface alone. They
start once for all tests of a module, since that takes seconds; a rank that waits for one that
failed gives up after `PATIENCE`.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

WORLD = 2
PATIENCE = timedelta(seconds=30)


class Processes:
    """One executor of one process a rank."""

    def __init__(self, ranks: list[ProcessPoolExecutor]) -> None:
        self._ranks = ranks

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function, of an importable module, returns on each rank."""
        futures = [rank.submit(function, *arguments) for rank in self._ranks]
        return [future.result(timeout=2 * PATIENCE.total_seconds()) for future in futures]


@contextmanager
def started(folder: Path) -> Iterator[Processes]:
    """Two processes that have joined; `folder` is an empty one for the file where they meet."""
    context = multiprocessing.get_context("spawn")
    ranks = [
        ProcessPoolExecutor(1, context, initializer=_join, initargs=(rank, folder / "meeting"))
        for rank in range(WORLD)
    ]
    try:
        yield Processes(ranks)
    finally:
        for rank in ranks:
            rank.shutdown(wait=False, cancel_futures=True)


def _join(rank: int, meeting: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{meeting}", rank=rank, world_size=WORLD, timeout=PATIENCE
    )

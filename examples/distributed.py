"""DistributedDataParallel: two processes, half of the batch each, train as one does.

Started by itself, it trains alone and then on two processes, and compares; started by
`torchrun --nproc-per-node 2`, it is one of those processes.
"""

import gc
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from torch import distributed

from common.data_parallel import Run, processes, train, windows
from common.picture import COLOURS, PALE, new_figure, tidy
from common.report import HERE, Out, Quick, Row, Seed, save, table
from common.seeds import seed_everything
from common.torchrun import launch, leave

PROCESSES = 2
Runs = dict[str, Run]


def main(
    hidden: Annotated[int, typer.Option(min=1, help="Units of the LSTM.")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Windows, of all processes together.")] = 128,
    epochs: Annotated[int, typer.Option(min=1)] = 12,
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Train a forecast of temperatures alone and on two processes, and compare."""
    if quick:
        hidden, epochs = 16, 3
    options = {"hidden": hidden, "batch": batch, "epochs": epochs, "seed": seed}
    seed_everything(seed)
    torch.set_num_threads(1)  # a process has one core, alone or not
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo")
    check(batch)
    runs = trainings(**options)
    if distributed.is_initialized():
        finish(runs, out)
    else:
        left = launch(__file__, PROCESSES, options)
        shared = {name: Run(*run) for name, run in left.items()}
        compare(runs, shared, options | {"quick": quick}, out)


def check(batch: int) -> None:
    _, world = processes()
    count = max(world, PROCESSES)
    most = len(windows(torch.float32)) // count
    if batch % count or batch > most:
        raise typer.BadParameter(f"--batch must be a multiple of {count} and at most {most}")


def trainings(hidden: int, batch: int, epochs: int, seed: int) -> Runs:
    """The same task in float32, and in float64 to see what is rounding.

    Several processes do it a third time, each on a whole batch.
    """
    _, world = processes()
    tasks = {"float32": (batch, torch.float32), "float64": (batch, torch.float64)}
    if world > 1:
        tasks["whole batch each"] = (batch * world, torch.float32)
    return {name: train(name, *task, hidden, epochs, seed) for name, task in tasks.items()}


def finish(runs: Runs, out: Path) -> None:
    """The end of one of several processes: all have the same numbers, the first tells them."""
    rank, world = processes()
    distributed.destroy_process_group()
    gc.collect()  # a cycle in DDP that still held the group would keep its threads to the very end
    if rank == 0:
        print(table([row(f"{world} processes, {name}", run) for name, run in runs.items()]))
        leave({name: tuple(run) for name, run in runs.items()}, out)


def compare(alone: Runs, shared: Runs, options: dict[str, int], out: Path) -> None:
    """The report: one process against two."""
    shown = {
        "one process": alone["float32"],
        "two processes, half a batch each": shared["float32"],
        "two processes, a whole batch each": shared["whole batch each"],
    }
    numbers: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in alone["float32"].weights.values()),
        "windows": len(windows(torch.float32)),
        "speed": alone["float32"].epoch / shared["float32"].epoch,
    }
    for name, run in zip(("one", "two", "two_whole"), shown.values(), strict=True):
        numbers[name] = {"loss": run.losses[-1], "seconds": run.epoch}
    for dtype, run in alone.items():
        numbers[dtype] = {
            "loss_difference": max(loss_differences(run, shared[dtype])),
            "weight_difference": weight_difference(run, shared[dtype]),
        }
    rows = [row(name, run) for name, run in shown.items()]
    save("distributed", out, picture(shown, alone, shared), rows, numbers, options)


def row(name: str, run: Run) -> Row:
    return {"training": name, "final loss": run.losses[-1], "seconds an epoch": run.epoch}


def loss_differences(one: Run, two: Run) -> list[float]:
    """Relative, an epoch."""
    return [abs(a - b) / a for a, b in zip(one.losses, two.losses, strict=True)]


def weight_difference(one: Run, two: Run) -> float:
    """The largest of all weights."""
    return max((one.weights[name] - two.weights[name]).abs().max().item() for name in one.weights)


def picture(shown: Runs, alone: Runs, shared: Runs) -> Figure:
    """The curves, and what lies between those that cannot be told apart."""
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    epochs = range(1, 1 + len(alone["float32"].losses))
    styles = ((PALE, 6), (COLOURS[0], 1.8), (COLOURS[1], 1.8))  # the first two curves are one
    for (name, run), (colour, width) in zip(shown.items(), styles, strict=True):
        left.plot(epochs, run.losses, color=colour, linewidth=width, label=name)
    tidy(left, "Training loss", "epoch", "mean squared error (normalised)")
    for (dtype, run), colour in zip(alone.items(), COLOURS, strict=False):
        differences = loss_differences(run, shared[dtype])
        right.plot(epochs, differences, "o-", color=colour, label=dtype)
    tidy(right, "One process against two with half a batch each", "epoch", "relative difference")
    right.set_yscale("log", nonpositive="mask")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    typer.run(main)

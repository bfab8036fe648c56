"""The same seed, the same bits: on any number of threads, and resumed in the middle of an epoch."""

from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common import thread_bits
from common.equal_runs import LABELS, LEFT_OUT, Weather, distinct_noise, run_all
from common.picture import COLOURS, INK, PALE, new_figure, tidy
from common.report import HERE, Out, Quick, Row, Seed, save
from common.resumable import Run, fingerprint, largest_difference, new_loader, seed_worker


def main(
    epochs: Annotated[int, typer.Option(min=2, help="Passes over the training part.")] = 4,
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Train twice, on two threads, and from a checkpoint with and without each of its parts."""
    settings = {"epochs": epochs, "seed": seed, "quick": quick}
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    weather = Weather(quick)
    batches = len(new_loader(weather.noisy, torch.Generator()))
    epochs = 2 if quick else epochs
    steps, stop = epochs * batches, epochs * batches // 2 + batches // 3
    runs = run_all(weather, seed, steps, stop)
    results: dict[str, dict[str, Any]] = {
        name: {
            "hash": fingerprint(run.model),
            "difference": largest_difference(run.model, runs["run"].model),
            "mae": weather.error(run),
        }
        for name, run in runs.items()
    }
    numbers: dict[str, Any] = {
        "runs": results,
        "naive": weather.naive(),
        "threads": thread_bits.measure(),
        "distinct_noise": distinct_noise(weather, seed_worker),
        "distinct_noise_unseeded": distinct_noise(weather, None),
        "steps": steps,
        "stop": stop,
        "batches": batches,
    }
    rows = [_row(LABELS[name], **result) for name, result in results.items()]
    rows.append(_row("naive", "-", "-", numbers["naive"]))
    save("reproduce", out, draw(runs, stop), rows, numbers, settings)


def _row(name: str, hash: str, difference: float | str, mae: float) -> Row:
    columns = {"weights' hash": hash, "largest difference of a weight": difference}
    return {"run": name, **columns, "test MAE (°C)": mae}


def draw(runs: dict[str, Run], stop: int) -> Figure:
    """Loss curves, and how far each run's loss is from the first run's."""
    figure = new_figure(12, 4.8)
    left, right = figure.subplots(1, 2)
    first = np.array(runs["run"].losses)
    wrong = dict(zip((f"without_{part}" for part in LEFT_OUT), (*COLOURS, PALE), strict=True))
    for name, colour in wrong.items():
        losses = np.array(runs[name].losses)
        left.plot(_smooth(losses), color=colour, lw=1)
        label = LABELS[name].removeprefix("resumed ")
        right.plot(_smooth(np.abs(losses - first)), color=colour, lw=1.2, label=label)
    for name, style in (("run", "-"), ("again", "--"), ("resumed", ":")):
        left.plot(_smooth(np.array(runs[name].losses)), style, color=INK, lw=2, label=name)
    for axes in (left, right):
        axes.axvline(stop, color=PALE, ls="--", lw=1)
        axes.set_yscale("log")
    left.legend(fontsize=8)
    right.legend(fontsize=8, title="resumed", title_fontsize=8)
    tidy(left, "Loss; the wrongly resumed in colour", "step", "mean squared error, normalised")
    same = all(runs[name].losses == runs["run"].losses for name in ("again", "resumed"))
    verdict = "0 for again and resumed" if same else "not 0 for again or resumed"
    tidy(right, f"Difference from the run's loss: {verdict}", "step", "difference")
    return figure


def _smooth(values: NDArray[np.float64], steps: int = 10) -> NDArray[np.float64]:
    """The mean of the last steps, not a number where there are fewer."""
    means = np.convolve(values, np.ones(steps) / steps, "valid")
    return np.concatenate([np.full(steps - 1, np.nan), means])


if __name__ == "__main__":
    typer.run(main)

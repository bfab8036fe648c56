"""A cell serves a live stream hour by hour, after truncated back-propagation through time."""

from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

import fused_rnn
from common.live import Microseconds, Stream, cell_times, percentiles, replay
from common.picture import COLOURS, INK, PALE, new_figure, tidy
from common.report import HERE, Out, Quick, Seed, save
from common.seeds import seed_everything
from common.truncated import Forecaster, Task, forecast_carried, train
from common.truncation_study import CURVES, Errors, Weather, compare_chunks
from fused_rnn.forecast import UserError

CHUNKS, QUICK_CHUNKS = (4, 8, 16, 32, 64, 128), (8, 64)
PARTS = {"validation": "September to November", "test": "November and December"}


def serve(trained: Forecaster, weather: Weather) -> tuple[dict[str, Any], Microseconds]:
    """The stream on our cell and on torch.nn's: test error and latency; the time of each step."""
    streams = {"ours": Stream(fused_rnn, trained), "torch_nn": Stream(nn, trained)}
    values = weather.values[: -weather.horizon]
    forecasts, times = replay(list(streams.values()), values.tolist())
    whole = forecast_carried(trained, values, torch.arange(len(values))).numpy()
    cells = np.median(cell_times(list(streams.values()), len(values)), axis=1)
    test = weather.parts.test
    result: dict[str, Any] = {
        name: {
            "mae": weather.mae(forecasts[index, test - weather.horizon], test),
            **percentiles(times[index]),
            "cell_p50": float(cells[index]),
        }
        for index, name in enumerate(streams)
    }
    result["speedup"] = result["torch_nn"]["p50"] / result["ours"]["p50"]
    result["cell_speedup"] = result["torch_nn"]["cell_p50"] / result["ours"]["cell_p50"]
    result["difference"] = float(np.abs(forecasts[0] - forecasts[1]).max())
    result["difference_from_layer"] = float(np.abs(forecasts[0] - whole).max())
    return result, times


def main(
    hidden: Annotated[int, typer.Option(min=1, help="Features of the state.")] = 32,
    horizon: Annotated[int, typer.Option(min=1, help="Hours ahead.")] = 12,
    updates: Annotated[int, typer.Option(min=1, help="Chunks that a model learns.")] = 600,
    repeats: Annotated[int, typer.Option(min=1, help="Trainings to take the mean of.")] = 3,
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Learn a year of temperatures in chunks, then forecast it hour by hour, the state kept."""
    settings = {"hidden": hidden, "horizon": horizon, "updates": updates, "repeats": repeats}
    seed_everything(seed)
    torch.set_num_threads(1)
    try:
        weather = Weather(horizon)
    except UserError as error:
        raise typer.BadParameter(f"--horizon {horizon}: {error}") from None
    task = Task(weather.training(), horizon, "GRU", hidden, updates)
    chunks, repeats = (QUICK_CHUNKS, 1) if quick else (CHUNKS, repeats)
    errors, best = compare_chunks(weather, task, chunks, range(seed, seed + repeats))

    rows, served, latencies = [], {}, {}
    for cell in ("GRU", "LSTM"):
        trained = train(task._replace(cell=cell), best, True, seed, weather.validation_error)
        served[cell], times = serve(trained, weather)
        for name, key, its in zip(("fused_rnn", "torch.nn"), served[cell], times, strict=False):
            latencies[f"{name}.{cell}Cell"] = its
            rows.append(_row(f"{name}.{cell}Cell", served[cell][key]))
    baselines = {part: weather.baselines(part) for part in PARTS}
    rows += [_row(name, {"mae": error}) for name, error in baselines["test"].items()]
    numbers = {**errors, "baselines": baselines, "best_chunk": best, **served}
    settings |= {"seed": seed, "quick": quick}
    save("stream", out, draw(errors, baselines, latencies), rows, numbers, settings)


def _row(name: str, result: dict[str, float]) -> dict[str, str | float]:
    columns = {"MAE (°C)": "mae", "p50 (µs)": "p50", "p95 (µs)": "p95", "p99 (µs)": "p99"}
    columns["cell alone, p50 (µs)"] = "cell_p50"
    return {"stream": name, **{title: result.get(key, "-") for title, key in columns.items()}}


def draw(errors: Errors, baselines: Errors, latencies: dict[str, Microseconds]) -> Figure:
    """Error over chunk length on two parts of the year; the latencies' tails."""
    figure = new_figure(13, 4.8)
    *parts, right = figure.subplots(1, 3)
    for axes, (part, months) in zip(parts, PARTS.items(), strict=True):
        _draw_errors(axes, errors[part], baselines[part])
        tidy(axes, f"Error, {part} part ({months})", "chunk length (hours)", "MAE (°C)")
    figure.legend(*parts[0].get_legend_handles_labels(), loc="outside lower left", ncols=4)
    for (name, times), colour in zip(latencies.items(), COLOURS, strict=False):
        slower = 1 - np.arange(len(times)) / len(times)
        style = "-" if name.startswith("fused_rnn") else "--"
        right.loglog(np.sort(times), slower, style, color=colour, label=name)
    for share, label in ((0.5, "p50"), (0.05, "p95"), (0.01, "p99")):
        right.axhline(share, color=PALE, ls=":", lw=1)
        right.annotate(label, (1, share), xycoords=("axes fraction", "data"), fontsize=8, color=INK)
    right.legend(fontsize=7)
    tidy(right, "One step of the stream", "time (µs)", "share of steps that take longer")
    return figure


def _draw_errors(axes: Axes, errors: dict[str, Any], baselines: dict[str, Any]) -> None:
    chunks = [int(name.removeprefix("chunk_")) for name in errors["carried"]]
    for (name, label), colour in zip(CURVES.items(), COLOURS, strict=False):
        axes.plot(chunks, list(errors[name].values()), "o-", ms=4, color=colour, label=label)
    for name, level in baselines.items():
        label = name.replace("_", " ")
        axes.axhline(level, color=PALE, ls="--", lw=1)
        axes.annotate(label, (chunks[-1], level), ha="right", va="bottom", fontsize=8, color=INK)
    axes.set_xscale("log", base=2)
    axes.set_xticks(chunks, [str(chunk) for chunk in chunks])


if __name__ == "__main__":
    typer.run(main)

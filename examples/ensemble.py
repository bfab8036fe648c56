"""An ensemble by `vmap` over weights: five LSTMs forecast a day, and say how surely."""

from collections.abc import Callable
from typing import NoReturn

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

import fused_rnn
from common import picture, torch_nn
from common.ensembles import Ensemble, against_a_loop
from common.gaussian import LIKELY, Gaussian, GaussianForecaster, mixture, rank_correlation
from common.report import HERE, Out, Quick, Seed, save
from common.seeds import seed_everything
from common.temperature import Temperature
from fused_rnn.forecast.training import Windows

WINDOW, HORIZON, HIDDEN, BATCH, MEMBERS = 48, 24, 32, 128, 5

Samples = tuple[Tensor, Tensor]  # windows [count, window], the day after each [count, horizon]


def trained(samples: Samples, epochs: int, bar: "tqdm[NoReturn]") -> GaussianForecaster:
    """A member: its first weights and the order of its batches are its own."""
    windows, days = samples
    model = GaussianForecaster(fused_rnn.LSTM, HIDDEN, HORIZON)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(windows)).split(BATCH):
            optimiser.zero_grad()
            model(windows[batch]).negative_log_likelihood(days[batch]).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        bar.update()
    return model


def samples_of(data: Temperature, steps: Tensor) -> Samples:
    """Each whole day of the steps, and the window before it."""
    last = steps[HORIZON - 1 :]
    windows, _ = Windows(data.values, WINDOW, HORIZON).batch(last)
    return windows, data.values.unfold(0, HORIZON, 1)[last - (HORIZON - 1)]


def baselines(data: Temperature, test: Samples) -> dict[str, Gaussian]:
    """The last value, and the same hour of the day before; as sure as they were in validation."""
    windows, days = samples_of(data, data.validation)
    rules: dict[str, Callable[[Tensor], Tensor]] = {
        "last value": lambda windows: windows[:, -1:].expand(-1, HORIZON),
        "day before": lambda windows: windows[:, -HORIZON:],
    }
    return {
        name: Gaussian(rule(test[0]), (rule(windows) - days).square().mean(0).expand_as(test[1]))
        for name, rule in rules.items()
    }


def scores(forecast: Gaussian, days: Tensor, deviation: float) -> dict[str, float]:
    """Its error, its likelihood and its coverage."""
    error = forecast.mean - days
    return {
        "rmse": error.square().mean().sqrt().item() * deviation,
        "nll": forecast.negative_log_likelihood(days).mean().item(),
        "coverage": forecast.coverage(days),
        "rank_correlation": rank_correlation(forecast.variance, error.abs()),
    }


def draw(data: Temperature, ensemble: Ensemble, test: Samples) -> Figure:
    """Two forecast days of the test part, and the error and the stated deviation by hour."""
    figure = picture.new_figure(11, 4)
    axes = figure.subplots(1, 3)
    with torch.no_grad():
        members = ensemble.forecast(test[0])
    whole = mixture(members)
    restore = data.scale.restore
    for panel, day in zip(axes, (len(test[0]) // 3, 2 * len(test[0]) // 3), strict=False):
        before, after = range(-23, 1), range(1, HORIZON + 1)
        panel.plot(before, restore(test[0][day, -24:].numpy()), color=picture.INK)
        panel.plot(after, restore(test[1][day].numpy()), color=picture.INK, label="observed")
        for index, member in enumerate(members.mean[:, day]):
            label = None if index else "members"
            panel.plot(after, restore(member.numpy()), color=picture.PALE, lw=0.8, label=label)
        mean, reach = whole.mean[day], LIKELY * whole.variance[day].sqrt()
        panel.plot(after, restore(mean.numpy()), color=picture.OURS, label="ensemble")
        low, high = restore((mean - reach).numpy()), restore((mean + reach).numpy())
        panel.fill_between(after, low, high, color=picture.OURS, alpha=0.15, lw=0, label="90%")
        picture.tidy(panel, "A day of the test part", "hours from now", "°C")
    axes[0].legend(frameon=False, fontsize=8)
    error = (whole.mean - test[1]).square().mean(0).sqrt() * data.scale.deviation
    stated = whole.variance.mean(0).sqrt() * data.scale.deviation
    axes[2].plot(after, error.tolist(), color=picture.INK, label="error (RMSE)")
    axes[2].plot(after, stated.tolist(), color=picture.OURS, label="stated deviation")
    axes[2].legend(frameon=False, fontsize=8)
    picture.tidy(axes[2], "All days of the test part", "hours from now", "°C")
    return figure


def main(seed: Seed = 0, quick: Quick = False, out: Out = HERE) -> None:
    """Trains five LSTMs, and compares their mixture with each of them."""
    seed_everything(seed)
    torch.set_num_threads(1)  # more gain little on so small a network
    data, epochs = Temperature(WINDOW, HORIZON), 5 if quick else 12
    samples = samples_of(data, data.train[::2] if quick else data.train)
    test = samples_of(data, data.test)
    with tqdm(total=epochs * MEMBERS, desc="training", unit="epoch", disable=None) as bar:
        ensemble = Ensemble([trained(samples, epochs, bar) for _ in range(MEMBERS)])
    with torch.no_grad():
        members = ensemble.forecast(test[0])
    deviation = data.scale.deviation
    each = [scores(Gaussian(*one), test[1], deviation) for one in zip(*members, strict=True)]
    scored = {
        "ensemble": scores(mixture(members), test[1], deviation),
        "a member, on average": {name: sum(s[name] for s in each) / MEMBERS for name in each[0]},
        **{n: scores(g, test[1], deviation) for n, g in baselines(data, test).items()},
    }
    rows: list[dict[str, str | float]] = [
        {"forecast": name, **score} for name, score in scored.items()
    ]
    few = tuple(part[:BATCH].expand(MEMBERS, *part[:BATCH].shape) for part in test)
    theirs = Ensemble([GaussianForecaster(nn.LSTM, HIDDEN, HORIZON) for _ in range(MEMBERS)])
    keys = ("ensemble", "member", "last", "day_before")
    numbers = {
        **dict(zip(keys, scored.values(), strict=True)),
        "rmse_of_members": [score["rmse"] for score in each],
        "loop": against_a_loop(ensemble, *few),
        "torch_nn": torch_nn.outcome(lambda: theirs.forecast(test[0])),
    }
    settings = {"seed": seed, "quick": quick, "epochs": epochs, "members": MEMBERS}
    save("ensemble", out, draw(data, ensemble, test), rows, numbers, settings)


if __name__ == "__main__":
    typer.run(main)

"""A day's temperatures from the days before: encoder, decoder, attention and exposure bias.

The decoder writes 24 hours, each fed with the one before it. In training that may be the true one
(teacher forcing), its own (free running), or first the one and then the other (scheduled
sampling); when it forecasts there is only its own. The hour of the day is known of the future too,
and the decoder is told it.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from tqdm import tqdm

from common.day_picture import draw
from common.days import Days, decode, forecast, hourly_errors, train
from common.decoder import SCORES, Seq2Seq
from common.report import HERE, Out, Quick, Seed, save
from common.seeds import seed_everything
from fused_rnn.forecast import series


class Plan(NamedTuple):
    """How a model is trained, and its parts that `common.decoder` describes."""

    title: str
    teacher: Callable[[float], float]  # share of the training done -> probability of the truth
    attention: bool = False
    anchor: str = "start"


PLANS = {
    "teacher": Plan("teacher forcing", lambda done: 1.0),
    "scheduled": Plan("scheduled sampling", lambda done: max(0.0, 1 - 1.5 * done)),
    "free": Plan("free running", lambda done: 0.0),
    "attention": Plan("free running, attention", lambda done: 0.0, attention=True),
    "changes": Plan("teacher forcing of changes", lambda done: 1.0, anchor="previous"),
}
BASELINES = {"naive": "naive", "seasonal": "seasonal naive", "ridge": "ridge regression"}


def main(
    window: Annotated[int, typer.Option(min=24, max=336, help="Hours of the past.")] = 48,
    hidden: Annotated[int, typer.Option(min=1, max=512, help="Units of each network.")] = 32,
    epochs: Annotated[int, typer.Option(min=1, help="Of half the days each.")] = 12,
    score: Annotated[str, typer.Option(help=f"Of the attention: {', '.join(SCORES)}.")] = "general",
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Forecast a day of a real temperature series hour by hour, after five ways of training."""
    if score not in SCORES:
        raise typer.BadParameter(f"{score!r} is not one of {', '.join(SCORES)}", param_hint="score")
    torch.set_num_threads(1)  # more gain little on networks so small
    days = Days(window)
    some, batch = (days.train[::4], 32) if quick else (days.train, 128)
    models = train_all(days, some, epochs, batch, hidden, score, seed)

    test = days.test
    forecasts = {name: getattr(days, name)(test) for name in BASELINES}
    forecasts |= {name: forecast(model, days, test) for name, model in models.items()}
    errors = {name: hourly_errors(f, days, test) for name, f in forecasts.items()}
    told = {
        name: hourly_errors(forecast(model, days, test, teacher=1.0), days, test)
        for name, model in models.items()
    }
    # Days that begin at 12:00 UTC, which is 7:00 in New York: the middle one is drawn.
    mornings = test[[days.times[day].hour == 12 for day in test]]
    weights = attention_weights(models["attention"], days, mornings)

    titles = BASELINES | {name: plan.title for name, plan in PLANS.items()}
    rows = [
        {
            "forecast": title,
            "RMSE (°C)": errors[name]["rmse"],
            **{f"hour {hour} (°C)": errors[name]["hours"][hour - 1] for hour in (1, 6, 12, 24)},
            "hour 24, told the truth (°C)": told[name]["hours"][-1] if name in told else "-",
        }
        for name, title in titles.items()
    ]
    peak = days.times[mornings[0] - window + weights.mean((0, 1)).argmax()].hour
    numbers = errors | {"told": told, "days": len(test)}
    numbers |= {"attended_hours": spread(weights), "most_attended_hour_utc": peak}
    figure = draw(days, mornings[len(mornings) // 2], forecasts, errors, told, weights, titles)
    settings = {"window": window, "hidden": hidden, "epochs": epochs, "score": score}
    save("seq2seq", out, figure, rows, numbers, settings | {"seed": seed, "quick": quick})


def train_all(
    days: Days, some: series.Steps, epochs: int, batch: int, hidden: int, score: str, seed: int
) -> dict[str, Seq2Seq]:
    """A model for each plan, trained on the days `some`."""
    models = {}
    with tqdm(total=epochs * len(PLANS), unit="epoch", disable=None) as bar:
        for name, plan in PLANS.items():
            seed_everything(seed)
            models[name] = Seq2Seq(2, hidden, score if plan.attention else None, plan.anchor)
            for loss in train(models[name], days, some, epochs, batch, plan.teacher):
                bar.set_postfix_str(f"{plan.title}: loss {loss:.3f}", refresh=False)
                bar.update()
    return models


@torch.no_grad()
def attention_weights(model: Seq2Seq, days: Days, some: series.Steps) -> series.Values:
    """What free-running forecasts look at, [24, days, window]."""
    weights = decode(model, days.batch(some), teacher=0.0).weights
    assert weights is not None
    return weights.double().numpy()


def spread(weights: series.Values) -> float:
    """Over how many hours the weights spread: the exponential of their mean entropy."""
    return float(np.exp(-(weights * np.log(weights + 1e-30)).sum(-1).mean()))


if __name__ == "__main__":
    typer.run(main)

"""Gradients through time: why they vanish or explode, and what an LSTM's gates do about it.

A loss on the last state sends a gradient back through every step. Its norm is measured for RNNs of
several spectral radii, LSTMs and GRUs, beside the rates that theory gives; then gradient clipping,
and the gates of a trained LSTM along a week of hourly temperatures.
"""

import math
from datetime import timedelta
from typing import Annotated, Any

import typer
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import trange

import fused_rnn
from common.exploding import train
from common.gate_swings import GATES, gates_along, swings
from common.gradients_picture import picture
from common.report import HERE, Out, Quick, Row, Seed, save
from common.seeds import seed_everything
from common.temperature import Temperature
from common.through_time import Decay, decays
from fused_rnn.forecast import series
from fused_rnn.forecast.training import Forecaster, Trainer, Windows

WINDOW, HORIZON, WEEK = 96, 12, 168
UNITS = 16
CLIP, CLIPPED_STEPS = 1.0, 150
LOCAL = timedelta(hours=-5)  # New York in winter; the file has UTC


def main(
    steps: Annotated[int, typer.Option(min=40, help="Steps that a gradient goes back.")] = 100,
    epochs: Annotated[int, typer.Option(min=1, help="Of the LSTM whose gates are shown.")] = 15,
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Measures gradients through time, and shows the gates of an LSTM."""
    if quick:
        steps, epochs = min(steps, 60), min(epochs, 4)
    seed_everything(seed)
    found = decays(steps)
    data = Temperature(WINDOW, HORIZON)
    clipping = clip_or_not(data, seed)
    gates, of_lstm = view_gates(data, epochs, seed)
    rates = {key: summary(decay) for key, decay in found.items()}
    save(
        "gradients",
        out,
        draw(found, data, gates),
        [row(decay) for decay in found.values()],
        {"rates": rates, "clipping": clipping, **of_lstm},
        {"steps": steps, "epochs": epochs, "seed": seed, "quick": quick},
    )


def clip_or_not(data: Temperature, seed: int) -> dict[str, float]:
    """The same training with gradients clipped and as they are."""
    windows = Windows(data.values, WINDOW, HORIZON)
    clipped, free = (
        train(windows, data.train, limit, CLIPPED_STEPS, seed) for limit in (CLIP, math.inf)
    )
    x, y = windows.batch(data.train)
    return {
        "limit": CLIP,
        "steps": CLIPPED_STEPS,
        "steps_unclipped": len(free.losses),
        "largest_norm": clipped.largest_norm,
        "loss": sum(clipped.losses[-30:]) / 30,
        "last_loss_unclipped": free.losses[-1],
        "loss_of_naive": (x[:, -1] - y).square().mean().item(),
    }


def view_gates(data: Temperature, epochs: int, seed: int) -> tuple[dict[str, Tensor], Any]:
    """The gates along the test part after training, and numbers: how far they move within a day
    before it and after it, and what the forecasts are worth."""
    seed_everything(seed)  # what exploded before drew for as many steps as its rounding let it
    model = Forecaster(fused_rnn, "lstm", UNITS, 1, False)
    windows = Windows(data.values, WINDOW, HORIZON)
    values = data.values[data.test[0] - WINDOW :]
    untrained = gates_along(model.recurrent, values, WINDOW)
    trainer = Trainer("LSTM", model, windows, data.train, epochs, seed)
    for _ in trange(epochs, unit="epoch", disable=None):
        trainer.train_epoch()
        trainer.validate(data.validation)
    trainer.restore_best()
    trained = gates_along(model.recurrent, values, WINDOW)

    celsius = data.celsius[data.parts.test]
    forecast = data.scale.restore(trainer.forecast(data.test).numpy())
    naive = series.naive(data.celsius, data.parts.test, HORIZON)
    swing = {
        name: {
            "untrained": swings(untrained[name]).mean().item(),
            "trained": swings(trained[name]).mean().item(),
        }
        for name in GATES
    }
    mae = {
        "lstm": series.errors(forecast, celsius).mae,
        "naive": series.errors(naive, celsius).mae,
    }
    return trained, {"swing": swing, "mae": mae}


def summary(decay: Decay) -> dict[str, float]:
    """What the page quotes of a network."""
    numbers = {"measured": decay.rate, "theory": decay.theory, "left": decay.norms[0].item()}
    return numbers if decay.gate is None else {**numbers, "gate": decay.gate}


def row(decay: Decay) -> Row:
    """A line of the table."""
    return {
        "network": decay.name,
        "gradient of": decay.state,
        "rate per step back": decay.rate,
        "theory": decay.theory,
        "bound": decay.bound or "-",
        "gate alone": decay.gate or "-",
        f"left after {len(decay.norms) - 1} steps": decay.norms[0].item(),
    }


def draw(found: dict[str, Decay], data: Temperature, gates: dict[str, Tensor]) -> Figure:
    """The picture, with the second week of the test part."""
    begin = data.parts.test[0] + WEEK
    times = [time + LOCAL for time in data.times[begin : begin + WEEK]]
    week = {name: gate[WEEK : 2 * WEEK] for name, gate in gates.items()}
    return picture(found, times, data.celsius[begin : begin + WEEK], week)


if __name__ == "__main__":
    typer.run(main)

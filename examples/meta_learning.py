"""Learning to learn (MAML): a second derivative through an LSTM makes one step adapt it."""

import copy
import math

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.func import functional_call
from tqdm import trange

import fused_rnn
from common import maml, oscillators, picture, torch_nn
from common.report import HERE, Out, Quick, Seed, save
from common.seeds import seed_everything

STEPS, SEQUENCES, HIDDEN = 32, 8, 32
TASKS_A_STEP, INNER_RATE, SHOWN_STEPS = 8, 0.1, 5
SHOWN = (0, 1, SHOWN_STEPS)
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)  # each method takes its best on the validation tasks
KEYS = {"MAML": "maml", "first order": "first_order", "all tasks": "all_tasks"}


class Follower(nn.Module):
    """Positions from pushes, [sequences, steps]."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent: nn.Module = fused_rnn.LSTM(1, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, pushes: Tensor) -> Tensor:
        """The position at every step."""
        output, _ = self.recurrent(pushes.unsqueeze(-1))
        position: Tensor = self.head(output).squeeze(-1)
        return position


def plain_loss(model: nn.Module, tasks: oscillators.Tasks) -> Tensor:
    """The mean error over all tasks' data, as one training set."""
    pushes, positions = torch.cat([tasks[0], tasks[2]]), torch.cat([tasks[1], tasks[3]])
    loss: Tensor = (model(pushes.flatten(0, 1)) - positions.flatten(0, 1)).square().mean()
    return loss


def train(method: str, steps: int, seed: int) -> Follower:
    """A network trained by "MAML", "first order" or "all tasks"."""
    torch.manual_seed(seed)
    model, generator = Follower(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in trange(steps, desc=method, unit="step"):
        tasks = oscillators.draw(TASKS_A_STEP, SEQUENCES, STEPS, generator)
        if method == "all tasks":
            loss = plain_loss(model, tasks)
        else:
            loss = maml.meta_loss(model, tasks, INNER_RATE, exact=method == "MAML")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model


def curve(model: nn.Module, tasks: oscillators.Tasks, rate: float) -> Tensor:
    """The mean error on the tasks after 0, 1, ... steps on each, [1 + SHOWN_STEPS]."""
    errors = torch.zeros(1 + SHOWN_STEPS)
    for pushes, positions, *query in zip(*tasks, strict=True):
        weights = maml.weights_of(model)
        for step in range(1 + SHOWN_STEPS):
            errors[step] += maml.error(model, weights, *query).detach()
            weights = maml.adapted(model, weights, pushes, positions, rate, exact=False)
            weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    return errors / len(tasks[0])


def best_curve(
    model: nn.Module, validation: oscillators.Tasks, test: oscillators.Tasks
) -> tuple[list[float], float]:
    """The test tasks' curve, each number of steps at its best rate on the validation tasks; and
    the rate for one step."""
    best = torch.stack([curve(model, validation, rate) for rate in RATES]).nan_to_num(math.inf)
    chosen = best.argmin(0)
    found = torch.stack([curve(model, test, rate) for rate in RATES])
    return found.gather(0, chosen.unsqueeze(0))[0].tolist(), RATES[int(chosen[1])]


def beside_torch_nn(model: nn.Module, tasks: oscillators.Tasks) -> dict[str, float | str]:
    """The same weights in torch.nn's layer: its meta-gradient, and what `vmap` over tasks does."""
    theirs = copy.deepcopy(model)
    fused_rnn.revert(theirs)
    found, seconds = maml.meta_gradient(model, tasks, INNER_RATE)
    expected, their_seconds = maml.meta_gradient(theirs, tasks, INNER_RATE)
    looped = maml.meta_loss(model, tasks, INNER_RATE, exact=False)
    return {
        "difference": ((found - expected).abs().max() / expected.abs().max()).item(),
        "seconds": seconds,
        "their_seconds": their_seconds,
        "vmap_difference": (maml.over_tasks(model, tasks, INNER_RATE) / looped - 1).abs().item(),
        "their_vmap": torch_nn.outcome(lambda: maml.over_tasks(theirs, tasks, INNER_RATE)),
    }


def draw(curves: dict[str, list[float]], models: dict[str, Follower], seed: int) -> Figure:
    """Errors against steps, and one task before and after one step."""
    figure = picture.new_figure(11, 4)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    for (name, errors), colour in zip(curves.items(), picture.COLOURS, strict=False):
        left.plot(errors, "o-", ms=3, color=colour, label=name)
    left.set_yscale("log")
    left.legend(frameon=False, fontsize=8)
    picture.tidy(left, "Error on tasks never seen", "steps of adaptation", "mean squared error")
    task = oscillators.draw(1, SEQUENCES, STEPS, torch.Generator().manual_seed(seed + 2))
    pushes, positions, new_pushes, new_positions = (part[0] for part in task)
    model = models["MAML"]
    own = maml.adapted(model, maml.weights_of(model), pushes, positions, INNER_RATE, exact=False)
    after = functional_call(model, own, (new_pushes[:1],))[0]
    right.plot(new_positions[0].tolist(), color=picture.INK, label="position")
    right.plot(model(new_pushes[:1])[0].tolist(), "--", color=picture.PALE, label="MAML before")
    right.plot(after.tolist(), color=picture.OURS, label="MAML after one step")
    right.legend(frameon=False, fontsize=8)
    picture.tidy(right, "One of them", "time step", "position")
    return figure


def main(seed: Seed = 0, quick: Quick = False, out: Out = HERE) -> None:
    """Meta-trains an LSTM on random oscillators, and adapts it to new ones."""
    seed_everything(seed)
    torch.set_num_threads(1)  # more gain little on so small a network
    steps, tasks = (160, 10) if quick else (600, 50)
    validation, test = (
        oscillators.draw(tasks, SEQUENCES, STEPS, torch.Generator().manual_seed(seed + offset))
        for offset in (10_000, 20_000)
    )
    models = {name: train(name, steps, seed) for name in KEYS}
    curves: dict[str, list[float]] = {}
    rates: dict[str, float] = {}
    for name, model in models.items():
        curves[name], rates[name] = best_curve(model, validation, test)
    zero = test.query_positions.square().mean().item()
    shown = curves | {"none: always 0": [zero] * (1 + SHOWN_STEPS)}
    rows: list[dict[str, str | float]] = [
        {"trained by": name, **{f"error after {step}": errors[step] for step in SHOWN}}
        for name, errors in shown.items()
    ]
    few = oscillators.Tasks(*(part[:8] for part in test))
    numbers = {
        **{KEYS[name]: errors for name, errors in curves.items()},
        "rates": {KEYS[name]: rate for name, rate in rates.items()},
        "zero": zero,
        "torch_nn": beside_torch_nn(models["MAML"], few),
    }
    settings = {"seed": seed, "quick": quick, "steps": steps}
    save("meta_learning", out, draw(curves, models, seed), rows, numbers, settings)


if __name__ == "__main__":
    typer.run(main)

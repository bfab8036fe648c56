"""Gradients of each sample: clipped one by one, they withstand a sensor that lies."""

import torch
import typer
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from tqdm import tqdm

import fused_rnn
from common import clipping, picture, torch_nn
from common.report import HERE, Out, Quick, Seed, save
from common.seeds import seed_everything
from common.temperature import Temperature
from common.timing import timed
from fused_rnn.forecast.training import Forecaster, Windows

WINDOW, HORIZON, HIDDEN, BATCH = 48, 6, 32, 128
FAULTY_SHARE, FAULTY_READING = 0.05, 50.0  # °C
NOISE = 1.0  # its deviation, in bounds


def train(
    name: str, rule: clipping.Rule, windows: Tensor, targets: Tensor, epochs: int, seed: int
) -> Forecaster:
    """A forecaster trained by Adam on the gradients that the rule makes."""
    torch.manual_seed(seed)
    model = Forecaster(fused_rnn, "lstm", HIDDEN, layers=1, bidirectional=False)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in tqdm(range(epochs), desc=name, unit="epoch", disable=None):
        for batch in torch.randperm(len(targets)).split(BATCH):
            optimiser.zero_grad()
            rule(model, windows[batch], targets[batch])
            optimiser.step()
        schedule.step()
    return model


def against_a_loop(model: nn.Module, windows: Tensor, targets: Tensor) -> dict[str, float]:
    """`vmap` beside a backward pass a sample: their largest difference, and the seconds."""

    def of_one(window: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        loss = (model(window.unsqueeze(0)) - target).square().sum()
        return torch.autograd.grad(loss, list(model.parameters()))

    (gradients, _), vmap_seconds = timed(lambda: clipping.each_clipped(model, windows, targets))
    looped, loop_seconds = timed(
        lambda: [of_one(*sample) for sample in zip(windows, targets, strict=True)]
    )
    pairs = zip(gradients.values(), zip(*looped, strict=True), strict=True)
    difference = max((found - torch.stack(each)).abs().max().item() for found, each in pairs)
    largest = max(found.abs().max().item() for found in gradients.values())
    return {
        "difference": difference / largest,
        "vmap_seconds": vmap_seconds,
        "loop_seconds": loop_seconds,
    }


def with_torch_nn(cell: str, dtype: torch.dtype, windows: Tensor, targets: Tensor) -> str:
    """What comes of the same call where the layer is torch.nn's."""
    model = Forecaster(nn, cell, HIDDEN, layers=1, bidirectional=False).to(dtype)
    windows, targets = windows.to(dtype), targets.to(dtype)
    return torch_nn.outcome(lambda: clipping.each_clipped(model, windows, targets))


def draw(norms: Tensor, faulty: Tensor, bound: float, errors: dict[str, float]) -> Figure:
    """The norms of sound and faulty samples, and the errors of the trainings."""
    figure = picture.new_figure(11, 4)
    left, right = figure.subplots(1, 2)
    logarithms = norms.clamp(min=1e-3).log10()
    bins = torch.linspace(-3, logarithms.max().item(), 50).tolist()
    left.hist(logarithms[~faulty].tolist(), bins, color=picture.INK, label="sound target")
    left.hist(logarithms[faulty].tolist(), bins, color=picture.OURS, label="faulty target")
    left.axvline(torch.tensor(bound).log10().item(), color=picture.PALE, ls="--", label="bound")
    left.legend(frameon=False, fontsize=8)
    picture.tidy(left, "Norm of each sample's gradient", "log10 of the norm", "samples")
    names = list(errors)
    colours = [picture.OURS if "each" in name else picture.PALE for name in names]
    bars = right.barh(names, list(errors.values()), color=colours)
    right.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    right.invert_yaxis()
    picture.tidy(right, f"Test error, {HORIZON} hours ahead", "RMSE, °C", "")
    return figure


def main(seed: Seed = 0, quick: Quick = False, out: Out = HERE) -> None:
    """Trains a forecaster where 5% of the targets read 50 °C, by six rules of a gradient."""
    seed_everything(seed)
    torch.set_num_threads(1)  # more gain little on so small a network
    data, epochs = Temperature(WINDOW, HORIZON), 2 if quick else 10
    deviation = data.scale.deviation
    batches = Windows(data.values, WINDOW, HORIZON)
    windows, sound = batches.batch(data.train[::2] if quick else data.train)
    test_windows, test_targets = batches.batch(data.test)
    faulty = torch.rand(len(sound)) < FAULTY_SHARE
    targets = torch.where(faulty, (FAULTY_READING - data.scale.mean) / deviation, sound)

    untrained = Forecaster(fused_rnn, "lstm", HIDDEN, layers=1, bidirectional=False)
    bound = clipping.norms_of(untrained, windows, targets).median().item()
    rules: dict[str, tuple[clipping.Rule, Tensor]] = {
        "sound targets": (clipping.squared, sound),
        "faulty targets": (clipping.squared, targets),
        "clipped as a whole": (clipping.clipped_as_a_whole(bound), targets),
        "each clipped": (clipping.dp_sgd(bound, noise=0), targets),
        "each clipped, noise": (clipping.dp_sgd(bound, NOISE), targets),
        "Huber's loss": (clipping.huber, targets),
    }
    errors, biases, rows = {}, [], []
    for name, (rule, given) in rules.items():
        model = train(name, rule, windows, given, epochs, seed)
        with torch.no_grad():
            error = (model(test_windows) - test_targets) * deviation
        errors[name] = error.square().mean().sqrt().item()
        biases.append(error.mean().item())
        rows.append({"training": name, "RMSE, °C": errors[name], "bias, °C": biases[-1]})
        if name == "each clipped":
            norms = clipping.norms_of(model, windows, targets)
            losses = (model(windows) - targets).detach().square()

    change = (test_windows[:, -1] - test_targets) * deviation
    naive, bias = change.square().mean().sqrt().item(), change.mean().item()
    rows.append({"training": "none: the last value", "RMSE, °C": naive, "bias, °C": bias})
    some = slice(0, 256)
    keys = ("sound", "plain", "whole", "each", "noise", "huber")
    numbers = {
        "rmse": {**dict(zip(keys, errors.values(), strict=True)), "naive": naive},
        "bias": dict(zip(keys, biases, strict=True)),
        "bound": bound,
        "auc_of_norm": roc_auc_score(faulty, norms),
        "auc_of_loss": roc_auc_score(faulty, losses),
        "loop": against_a_loop(untrained, windows[some], targets[some]),
        "torch_nn": {
            f"{cell}_{bits}": with_torch_nn(cell, dtype, windows[some], targets[some])
            for cell in ("lstm", "gru", "rnn")
            for bits, dtype in ((32, torch.float32), (64, torch.float64))
        },
    }
    figure = draw(norms, faulty, bound, errors)
    settings = {"seed": seed, "quick": quick, "epochs": epochs}
    save("per_sample_gradients", out, figure, rows, numbers, settings)


if __name__ == "__main__":
    typer.run(main)

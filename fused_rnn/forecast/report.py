"""The texts that the forecast command prints."""

import statistics
import sys
from collections.abc import Sequence

from .experiment import Experiment, Outcome
from .training import Trainer


def task(experiment: Experiment) -> str:
    """What is forecast, from what and with what."""
    options, parts, the_series = experiment.options, experiment.parts, experiment.series
    span = ""
    if the_series.times:
        span = f", {the_series.times[0]:%Y-%m-%d %H:%M} to {the_series.times[-1]:%Y-%m-%d %H:%M}"
    directions = "bidirectional, " if options.bidirectional else ""
    return "\n".join(
        [
            f"Series      {the_series.name} of {experiment.data.name}: "
            f"{len(the_series.values):,} values{span}",
            f"Split       in time order: {len(parts.train):,} forecasts to train, "
            f"{len(parts.validation):,} to validate, {len(parts.test):,} to test",
            f"Task        {_steps(options.horizon)} ahead, from the last {_steps(options.window)}, "
            f"season {options.season}",
            f"Network     {options.cell.upper()}, {directions}layers {options.layers}, "
            f"hidden {options.hidden}, seed {options.seed}, epochs {options.epochs}, "
            f"threads {options.threads}",
        ]
    )


def test_errors(outcome: Outcome) -> str:
    """The table of errors on the test part, and whether the forecast beats the baselines."""
    networks = {trainer.name for trainer in outcome.trainers}
    cell = outcome.experiment.options.cell.upper()
    lines = [f"\nError on the test part, in {outcome.experiment.unit}", f"{'RMSE':>34}{'MAE':>10}"]
    for name, errors in outcome.errors.items():
        label = f"{name} {cell}" if name in networks else name
        lines.append(f"  {label:<22}{errors.rmse:>10.3f}{errors.mae:>10.3f}")
    ours, *_ = outcome.errors.values()
    for name in ("naive", "seasonal naive"):
        baseline = outcome.errors[name]
        gain = 1 - ours.rmse / baseline.rmse if baseline.rmse else float("-inf")
        verdict = (
            f"better than {name}: RMSE {gain:.0%} lower" if gain > 0 else f"NOT better than {name}"
        )
        lines.append(f"  {verdict}")
    return "\n".join(lines) + "\n"


def comparison(ours: Trainer, theirs: Trainer) -> str:
    """How the two trainings differ in loss and in time."""
    own, other = statistics.median(ours.seconds), statistics.median(theirs.seconds)
    return "\n".join(
        [
            f"Losses      of {len(ours.losses)} epochs, {ours.name} against {theirs.name}: largest "
            f"relative difference {largest_difference(ours.losses, theirs.losses):.1e}",
            f"Time        {own:.3f} s against {other:.3f} s an epoch (medians): "
            f"ratio {other / own:.2f}, above 1 where {ours.name} is faster",
        ]
    )


def largest_difference(losses: Sequence[float], expected: Sequence[float]) -> float:
    """The largest relative difference of two lists of losses."""
    floor = sys.float_info.min
    return max(abs(a - b) / max(abs(b), floor) for a, b in zip(losses, expected, strict=True))


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"

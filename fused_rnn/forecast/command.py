"""The options of `python -m fused_rnn forecast` and the order of events.

Whatever is slow to import is imported by `run`.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from . import UserError

PICTURES = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    network = parser.add_argument_group("network")
    network.add_argument("--cell", choices=("rnn", "gru", "lstm"), default="lstm", help="(lstm)")
    network.add_argument(
        "--layers", type=_whole(1, 16), default=1, metavar="N", help="recurrent layers (1)"
    )
    network.add_argument(
        "--hidden", type=_whole(1, 4096), default=64, metavar="N", help="hidden units a layer (64)"
    )
    network.add_argument(
        "--bidirectional",
        action="store_true",
        help="read the window in both directions; fair, as the window holds nothing but the past",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--epochs", type=_whole(1, 10_000), default=15, metavar="N", help="(15); the best is kept"
    )
    training.add_argument(
        "--seed", type=_whole(0, 2**63 - 1), default=0, metavar="N", help="weights and batches (0)"
    )
    training.add_argument(
        "--threads",
        type=_whole(1, 1024),
        default=1,
        metavar="N",
        help="(1); more gain little on so small a network, and cost much on a busy machine",
    )
    training.add_argument(
        "--no-compare", dest="compare", action="store_false", help="leave out torch.nn's training"
    )
    task = parser.add_argument_group("series, in steps of its own")
    task.add_argument(
        "--window", type=_whole(1, 10_000), default=48, metavar="N", help="past steps seen (48)"
    )
    task.add_argument(
        "--horizon", type=_whole(1, 10_000), default=6, metavar="N", help="steps ahead (6)"
    )
    task.add_argument(
        "--season",
        type=_whole(1, 100_000),
        default=24,
        metavar="N",
        help="period of the seasonal-naive forecast (24)",
    )
    task.add_argument(
        "--data",
        type=Path,
        metavar="FILE.csv",
        help="your series: a CSV file with a header, a line a step, evenly spaced and without gaps "
        "(default: hourly temperature at New York's JFK airport, 2013)",
    )
    task.add_argument("--column", metavar="NAME", help="the column of FILE.csv to forecast")
    parser.add_argument(
        "--output",
        type=_picture,
        default=Path("forecast.png"),
        metavar="FILE",
        help="the picture to save: .png, .pdf or .svg (forecast.png)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Reads the series, trains, states the errors and saves the picture.

    Raises `UserError` where the file, the series or the picture's path is at fault.
    """
    from . import experiment, picture, report

    the_experiment = experiment.prepare(arguments)
    print(report.task(the_experiment), flush=True)
    outcome = experiment.train(the_experiment)
    print(report.test_errors(outcome))
    if arguments.compare:
        print(report.comparison(*outcome.trainers))
    try:
        picture.draw(outcome).savefig(arguments.output)
    except OSError as error:
        raise UserError(f"cannot save {arguments.output}: {error.strerror}") from error
    print(f"Picture     {arguments.output}")


def _whole(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low} to {high}")
        return value

    return parse


def _picture(text: str) -> Path:
    """A path that a picture can be saved to: better known before the training than after it."""
    path = Path(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(PICTURES)}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
    return path

"""Run the points (the default), compare two reports, print the README's table, or draw a plot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from fused_rnn import _C

from . import report as text
from .contestants import OURS, PREPACKED, TORCH, Contestant, Unavailable, evaluate
from .grid import CELLS, FAMILIES, KINDS, ODD_SHAPES, Point, grid, layers, lengths, select
from .problem import TOLERANCES, difference, make_problem
from .results import Report, Row, caption, environment
from .timing import Run, fastest_half, measure, timing_conditions

PEAK = "peak"
MULTIPLY_ADDS = 20_000  # of all sums: a tenth of a millisecond
COMMANDS = ("run", "compare", "table", "plot")


def parse(arguments: list[str]) -> argparse.Namespace:
    if not arguments or arguments[0] not in (*COMMANDS, "-h", "--help"):
        arguments = ["run", *arguments]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="ours against torch.nn over the grid (default)")
    kinds = dict.fromkeys((*KINDS, *FAMILIES))
    run.add_argument("--kind", nargs="+", default=[], choices=kinds, metavar="KIND",
                     help=f"of {', '.join(kinds)} (default: all)")  # fmt: skip
    run.add_argument("--cell", nargs="+", default=[], choices=CELLS, metavar="CELL",
                     help=f"of {', '.join(CELLS)} (default: all)")  # fmt: skip
    run.add_argument("--also", nargs="+", default=[], metavar="PEER",
                     choices=("onnxruntime", "openvino"),
                     help="onnxruntime, openvino: in the inference of whole layers")  # fmt: skip
    run.add_argument("--prepack", action="store_true",
                     help="ours infers over weights that were packed before")  # fmt: skip
    run.add_argument("--dtype", default="float32", choices=TOLERANCES,
                     help="of torch.nn's layers and ours (default: float32)")  # fmt: skip
    run.add_argument("--threads", type=int, default=1, help="of every contestant (default: 1)")
    run.add_argument("--device", default="cpu", choices=("cpu", "cuda"),
                     help="cuda: against cuDNN, each call to its end")  # fmt: skip
    points = run.add_mutually_exclusive_group()
    points.add_argument("--shape", type=int, nargs=3, action="append", metavar=("B", "T", "H"),
                        help="whole layers of this shape, not the grid; repeatable")  # fmt: skip
    points.add_argument("--odd", action="store_true",
                        help="whole layers of sizes that fit no vector and no tile")  # fmt: skip
    points.add_argument("--lengths", action="store_true",
                        help="training over ever longer sequences, packed and padded")  # fmt: skip
    run.add_argument("--quick", action="store_true",
                     help="0.3 s a point, and of the grid a few small points")  # fmt: skip
    run.add_argument("--seconds", type=float, help="of timing a point (default: 2)")
    run.add_argument("--json", type=Path, metavar="FILE", help="write the report")
    run.add_argument("--plot", type=Path, metavar="FILE", help="write the picture (png, svg, pdf)")

    compare = commands.add_parser("compare", help="our times in two reports")
    compare.add_argument("reports", type=Path, nargs=2, metavar="FILE.json")
    table = commands.add_parser("table", help="the README's table, in markdown")
    table.add_argument("reports", type=Path, nargs="+", metavar="FILE.json")
    table.add_argument("--by-shape", action="store_true", help="a row a shape of whole layers")
    plot = commands.add_parser("plot", help="the picture of a report")
    plot.add_argument("report", type=Path, metavar="FILE.json")
    plot.add_argument("picture", type=Path, metavar="FILE.png")
    plot.add_argument("--lengths", action="store_true", help="of run --lengths: time against T")
    options = parser.parse_args(arguments)
    if options.command == "run":
        for path in (options.json, options.plot):
            if path and not path.parent.is_dir():  # before the measurement, not after it
                run.error(f"{path}: no such folder")
        if options.device == "cuda" and not torch.cuda.is_available():
            run.error("--device cuda: torch sees no GPU")
        if options.prepack and options.device == "cuda":
            run.error("--prepack: weights are packed for the CPU alone")
        if options.dtype != "float32" and (options.prepack or options.also):
            run.error("--dtype: prepacked weights and other peers are float32's alone")
        if options.threads < 1:
            run.error(f"--threads must be at least 1, not {options.threads}")
        if options.seconds is not None and options.seconds <= 0:
            run.error(f"--seconds must be more than 0, not {options.seconds}")
        for shape in options.shape or ():
            if min(shape) < 1:
                run.error(f"--shape: sizes must be at least 1, not {shape}")
        if options.plot and options.plot.suffix not in (".png", ".svg", ".pdf"):
            run.error(f"--plot: expected .png, .svg or .pdf, not {options.plot}")
        if not points_of(options):
            run.error("none of the points is of this kind: --shape and --odd have whole layers, "
                      "--lengths training, packed and padded, --prepack inference")  # fmt: skip
    return options


def measure_point(
    point: Point, contestants: list[Contestant], seconds: float, device: str, dtype: torch.dtype
) -> Row:
    """Build, check against torch.nn and time every contestant that can take part."""
    problem = make_problem(point, device, dtype=dtype)
    runs = {}
    for contestant in contestants:
        try:
            runs[contestant.name] = waiting(contestant.build(problem), device)
        except Unavailable:
            continue
    expected = evaluate(runs[TORCH.name], problem)
    differences = {
        name: difference(evaluate(run, problem), expected)
        for name, run in runs.items()
        if name != TORCH.name
    }
    # In turn with them, since the clock may change and a neighbour may come at any moment.
    if has_peak := device == "cpu" and dtype == torch.float32:
        runs[PEAK] = lambda: _C.multiply_adds(MULTIPLY_ADDS)
    with timing_conditions(point.training):
        samples = measure(runs, seconds)
    rounds = len(samples[TORCH.name])
    times = {name: fastest_half(values) for name, values in samples.items()}
    peak = _C.multiply_adds(MULTIPLY_ADDS) / times.pop(PEAK) / 1e9 if has_peak else None
    return Row(point, times, rounds, differences, peak)


def waiting(run: Run, device: str) -> Run:
    """The run to its end: a device goes on after the call has returned."""
    if device == "cpu":
        return run

    def run_and_wait() -> Any:
        result = run()
        torch.cuda.synchronize()
        return result

    return run_and_wait


def points_of(options: argparse.Namespace) -> list[Point]:
    """What to measure."""
    if options.lengths:
        points = lengths()
    elif options.odd or options.shape:
        points = layers(options.shape or ODD_SHAPES)
    else:
        points = [point for point in grid() if point.quick or not options.quick]
    chosen = select(points, options.kind, options.cell)
    return [point for point in chosen if not (options.prepack and point.training)]


def available(peers: list[str]) -> list[Contestant]:
    """The named further contestants; those that cannot be had are skipped, with the reason."""
    from .peers import PEERS

    problem = make_problem(Point("layer", "lstm", 1, 1, 1, training=False))
    found = []
    for name in peers:
        try:
            PEERS[name].build(problem)
        except Unavailable as reason:
            print(f"skipped: {name}: {reason}")
        else:
            found.append(PEERS[name])
    return found


def run(options: argparse.Namespace) -> int:
    """The grid; 1 where a result disagrees with torch.nn's by more than the tolerance."""
    dtype = getattr(torch, options.dtype)
    torch.set_num_threads(options.threads)
    seconds = options.seconds or (0.3 if options.quick else 2.0)
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32 for every contestant
    points = points_of(options)
    peers = available(options.also)
    contestants: list[Contestant] = [PREPACKED if options.prepack else OURS, TORCH, *peers]
    names = [contestant.name for contestant in contestants]
    names_of_peers = [peer.name for peer in peers]
    conditions = environment(names_of_peers, seconds, options.device, prepacked=options.prepack)
    report = Report({**conditions, "dtype": options.dtype})
    print(caption(report.environment))
    print("inference: torch.inference_mode; training: forward + backward, every gradient anew")
    print(text.header(names), flush=True)
    wrong = []
    for point in points:
        row = measure_point(point, contestants, seconds, options.device, dtype)
        report.rows.append(row)
        print(text.line(row, names, options.threads), flush=True)
        for name, deviation in row.difference.items():
            if not deviation <= TOLERANCES[options.dtype]:
                wrong.append(f"{point.id}: {name} deviates from torch by {deviation:.1e}")
                print(f"  WRONG: {name} deviates by {deviation:.1e}", flush=True)
    print("\n" + text.summary(report))
    if options.json:
        report.write(options.json)
    if options.plot:
        draw(report, options.plot, options.lengths)
    if wrong:
        print("results that disagree with torch.nn's:", *wrong, sep="\n  ")
    return 1 if wrong else 0


def draw(report: Report, path: Path, lengths: bool) -> None:
    """Imports matplotlib only where a picture is asked for."""
    from . import plot

    (plot.draw_lengths if lengths else plot.draw)(report, path)


def main() -> int:
    options = parse(sys.argv[1:])
    if options.command == "run":
        return run(options)
    try:
        if options.command == "compare":
            print(text.compare(*(Report.read(path) for path in options.reports)))
        elif options.command == "table":
            reports = [Report.read(path) for path in options.reports]
            print(text.table(*reports, by_shape=options.by_shape))
        else:
            draw(Report.read(options.report), options.picture, options.lengths)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

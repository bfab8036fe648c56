"""Reports without timing: points, JSON, summary, table and pictures of made-up numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from . import report as text
from .grid import FAMILIES, ODD_SHAPES, SHAPES, Point, grid, layers, lengths, select
from .plot import draw, draw_lengths
from .results import BEST, OURS, TORCH, Report, Row, environment, means

pytestmark = pytest.mark.quick


def row(point: Point, torch: float, peak: float | None = 100.0, **peers: float) -> Row:
    """Ours takes a second, so that the others' seconds are ratios."""
    return Row(point, {OURS: 1.0, TORCH: torch, **peers}, 4, {OURS: 0.0}, peak)


def report(*rows: Row) -> Report:
    return Report(environment([], seconds=1.0) | {"threads": 1}, list(rows))


INFERENCE = Point("layer", "lstm", 8, 10, 64, training=False)
OTHER = Point("layer", "lstm", 32, 10, 64, training=False)
TRAINING = Point("layer", "lstm", 8, 10, 64, training=True)
CONTESTED = report(
    row(INFERENCE, torch=2.0, onnxruntime=0.5, openvino=1.5),
    row(OTHER, torch=2.0, openvino=0.98),
    row(TRAINING, torch=0.9),
)


def test_points_are_unique_and_named_kinds_select_them() -> None:
    for points in (grid(), layers(ODD_SHAPES), lengths()):
        assert len(set(points)) == len({point.id for point in points}) == len(points)
    assert {point.family for point in select(grid(), ["cell", "packed-training"])} == {
        "cell",
        "packed",
    }
    assert all(point.odd for point in layers(ODD_SHAPES))
    assert not any(point.odd for point in grid())
    assert set(FAMILIES) == set(SHAPES)


def test_lengths_are_packed_and_padded_in_pairs() -> None:
    packed = [point.shape for point in select(lengths(), ["packed"])]
    assert packed == [point.shape for point in select(lengths(), ["layer"])]


def test_json_gives_the_report_back(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    CONTESTED.write(path)
    assert Report.read(path) == CONTESTED
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(ValueError, match="format 1, expected 2"):
        Report.read(path)


def test_share_of_peak_is_of_all_threads() -> None:
    gflop = INFERENCE.flops / 1e9
    assert row(INFERENCE, torch=1.0, peak=gflop).share_of_peak(2) == pytest.approx(0.5)
    assert math.isnan(row(INFERENCE, torch=1.0, peak=None).share_of_peak(1))
    columns = text.line(row(INFERENCE, torch=1.5, peak=gflop), [OURS, TORCH], 2).split()
    names = text.header([OURS, TORCH]).replace(" us", "").replace("at peak", "at_peak").split()
    assert columns[-1] == "3.00" and names[-1] == "at_peak"  # of 1.5 times with half of the peak
    assert "50.0" in columns


def test_limit_is_the_ratio_at_the_peak_but_for_few_sequences() -> None:
    few = Point("layer", "lstm", 3, 10, 64, training=False)
    at_half = row(INFERENCE, torch=1.5, peak=2 * INFERENCE.flops / 1e9)
    assert at_half.limit(1) == pytest.approx(3.0)
    assert row(few, torch=1.5).limit(1) == 1.5
    assert math.isnan(row(few, torch=1.5, peak=None).limit(1))
    assert "lstm  1.50 (1.50; 1)" in text.summary(report(row(few, torch=1.5, peak=None)))
    summary = text.summary(report(at_half, row(few, torch=12.0)))
    assert "inference         lstm  4.24 (1.50; 2; 6.00)" in summary


def test_best_peer_is_the_fastest_of_a_point() -> None:
    first, second, third = CONTESTED.rows
    assert [r.best_peer for r in CONTESTED.rows] == ["onnxruntime", "openvino", TORCH]
    assert means([first, second], lambda row: row.ratio(BEST)) == {
        ("inference", "lstm"): (pytest.approx(0.7), 0.5, 2)
    }
    assert third.ratio(BEST) == third.ratio() == 0.9


def test_summary_lists_what_is_behind() -> None:
    torch, best = text.summary(CONTESTED).split("\n\n")
    assert torch.endswith(f"points behind torch: 1 of 3\n  0.90  {TRAINING.id}")
    assert best.endswith(
        f"points behind best peer by more than 3%: 1 of 2\n  0.50  {INFERENCE.id}  onnxruntime"
    )
    assert BEST not in text.summary(report(row(INFERENCE, torch=2.0)))


def test_table_has_the_best_peer_and_the_odd_shapes() -> None:
    odd = report(*(row(point, torch=3.0) for point in layers(ODD_SHAPES)))
    lines = text.table(CONTESTED, odd).splitlines()
    assert lines[2] == "| whole layer | 2.00 (2.00) | - | - | 0.90 | - | - |"
    assert lines[3] == "| whole layer, over the best peer | 0.70 (0.50) | - | - | - | - | - |"
    assert lines[4] == "| whole layer, odd shapes |" + " 3.00 (3.00) |" * 6
    assert "the best peer (the fastest of torch, onnxruntime, openvino)" in lines[-1]
    assert BEST not in text.table(odd)


def test_table_has_rows_of_its_own_for_prepacked_weights() -> None:
    prepacked = report(row(INFERENCE, torch=4.0))
    prepacked.environment["prepacked"] = True
    lines = text.table(report(row(INFERENCE, torch=2.0)), prepacked).splitlines()
    assert lines[2] == "| whole layer | 2.00 | - | - | - | - | - |"
    assert lines[3] == "| whole layer, prepacked | 4.00 | - | - | - | - | - |"
    assert text.compare(prepacked, CONTESTED).splitlines()[0].endswith(", weights prepacked")


def test_table_has_rows_of_its_own_for_a_dtype() -> None:
    halves = report(row(INFERENCE, torch=4.0))
    halves.environment["dtype"] = "bfloat16"
    lines = text.table(halves, report(row(INFERENCE, torch=2.0))).splitlines()
    assert lines[2] == "| whole layer | 2.00 | - | - | - | - | - |"
    assert lines[3] == "| whole layer, bfloat16 | 4.00 | - | - | - | - | - |"
    assert ", bfloat16, " in text.compare(halves, CONTESTED).splitlines()[0]


def test_table_and_caption_say_the_threads() -> None:
    other = report(row(INFERENCE, torch=2.0))
    other.environment["threads"] = 2
    assert (
        text.table(other).splitlines()[2] == "| whole layer, 2 threads | 2.00 | - | - | - | - | - |"
    )
    assert ", 2 threads, " in text.compare(CONTESTED, other).splitlines()[1]


@pytest.mark.parametrize("peak", [100.0, None])
def test_pictures(tmp_path: Path, peak: float | None) -> None:
    path = tmp_path / "picture.svg"
    draw(report(*(row(point, 2.0, peak) for point in grid())), path)
    assert ("peak of" in path.read_text()) == (peak is not None)
    draw_lengths(report(*(row(point, 2.0, peak) for point in lengths())), path)
    with pytest.raises(ValueError, match="no points of `run --lengths`"):
        draw_lengths(CONTESTED, path)

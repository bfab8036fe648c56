"""The grid under pytest-benchmark: ours and torch.nn in one group a point.

`pytest benchmarks -m quick` is the reduced run.
"""

from __future__ import annotations

from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .contestants import OURS, TORCH, Modules, evaluate
from .grid import Point, grid
from .problem import TOLERANCES, Problem, difference, make_problem
from .timing import MIN_SAMPLE, timing_conditions

POINTS = [
    pytest.param(point, id=point.id, marks=[pytest.mark.quick] if point.quick else [])
    for point in grid()
]


@lru_cache(maxsize=1)
def shared_problem(point: Point) -> Problem:
    """Both contestants of a point run one after the other, on the same tensors."""
    return make_problem(point)


@pytest.mark.benchmark(
    min_time=MIN_SAMPLE, max_time=0.25, min_rounds=4, warmup=True, warmup_iterations=2
)
@pytest.mark.parametrize("contestant", [TORCH, OURS], ids=lambda contestant: contestant.name)
@pytest.mark.parametrize("point", POINTS)
def test_speed(benchmark: BenchmarkFixture, point: Point, contestant: Modules) -> None:
    problem = shared_problem(point)
    run = contestant.build(problem)
    expected = evaluate(TORCH.build(problem), problem)
    deviation = difference(evaluate(run, problem), expected)
    assert deviation <= TOLERANCES["float32"]
    benchmark.group = point.id
    benchmark.extra_info["gflop"] = point.flops / 1e9
    with timing_conditions(point.training):
        benchmark(run)

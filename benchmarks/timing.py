"""Timing of several contestants in turn in one process.

A sample is one contestant called often enough to last MIN_SAMPLE, after a call that is not timed:
the contestant before has filled the caches with other things. Every second round runs backwards
(A B, B A, ...), so that nobody always comes after the same one. The figure reported is the median
of the fastest half of the samples.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import torch

Run = Callable[[], Any]

MIN_SAMPLE = 2e-3  # seconds; far above the clock's resolution and a timer interrupt
MIN_ROUNDS = 8  # a neighbour of a second or two spoils three samples of a slow point
FREED_BEFORE = 28 << 20  # bytes; glibc's thresholds grow with what is freed, up to arrays of 32 MiB
LONG_CALL = 0.1  # seconds; cold caches are lost in a call that takes longer
PAUSE = 3e-3  # seconds; lets the spinning worker threads of the last contestant go to sleep


@contextmanager
def timing_conditions(training: bool) -> Iterator[None]:
    """Without garbage collection; and without autograd (inference_mode) unless training.

    The process has freed a large array before, as any program that has trained for a while. Until
    then glibc gives arrays of a megabyte back to the system at once, and to map them anew, in every
    call or in none as the heap happens to lie, takes torch.nn and us as long as a cell's step.
    """
    torch.empty(FREED_BEFORE, dtype=torch.uint8)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with torch.inference_mode(not training):
            yield
    finally:
        if enabled:
            gc.enable()


def sample(run: Run, calls: int) -> float:
    """Seconds that `calls` calls take."""
    start = time.perf_counter()
    for _ in repeat(None, calls):
        run()
    return time.perf_counter() - start


def calibrate(run: Run) -> int:
    """How many calls make a sample of at least MIN_SAMPLE."""
    calls = 1
    while (seconds := sample(run, calls)) < MIN_SAMPLE:
        calls = max(calls + 1, min(10 * calls, math.ceil(1.2 * calls * MIN_SAMPLE / seconds)))
    return calls


def fastest_half(samples: list[float]) -> float:
    """The median of the fastest half."""
    return statistics.median(sorted(samples)[: (len(samples) + 1) // 2])


def measure(runs: Mapping[str, Run], seconds: float) -> dict[str, list[float]]:
    """Samples (seconds a call) of each contestant, taken in turn for about `seconds` in all.

    Call it under `timing_conditions`. At least MIN_ROUNDS samples are taken of each.
    """
    for run in runs.values():
        run()
    calls = {name: calibrate(run) for name, run in runs.items()}
    warm_up = {name: sample(run, 1) < LONG_CALL for name, run in runs.items()}
    order = list(runs)
    pause = PAUSE if torch.get_num_threads() > 1 else 0.0
    samples: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < MIN_ROUNDS or time.perf_counter() < end:
        for name in order:
            time.sleep(pause)
            if warm_up[name]:
                runs[name]()
            samples[name].append(sample(runs[name], calls[name]) / calls[name])
        order.reverse()
        rounds += 1
    return samples

"""How long a call takes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """What the function gives, and the seconds of the fastest of three calls."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begin)
    return result, min(seconds)

"""The plan of the CUDA kernels, a pure function: what it must hold for every device and shape."""

import itertools
from typing import Any, NamedTuple

import pytest

from backends import emulated_module
from cases import CELLS, GATES


class Device(NamedTuple):
    """Multiprocessors, and the shared memory that a block may ask for (CUDA C++ Programming Guide,
    technical specifications by compute capability)."""

    multiprocessors: int
    shared_bytes: int


DEVICES = {
    "sm_75 (T4)": Device(40, 64 * 1024),
    "sm_80 (A100)": Device(108, 163 * 1024),
    "sm_86 (A10)": Device(72, 99 * 1024),
    "sm_89 (L4)": Device(58, 99 * 1024),
    "sm_90 (H100)": Device(132, 227 * 1024),
    "sm_100 (B200)": Device(148, 227 * 1024),
    "sm_120 (RTX 5090)": Device(170, 99 * 1024),
}
DTYPES = {"float64": (8, 8), "float32": (4, 4), "bfloat16": (2, 4)}  # stored, computed with

each_device = pytest.mark.parametrize("device", DEVICES)
each_pass = pytest.mark.parametrize("direction", ["forward", "backward"])


def plan(direction: str, device: str, cell: str, dtype: str, batch: int, hidden: int) -> Any:
    element_size, compute_size = DTYPES[dtype]
    return getattr(emulated_module(), f"plan_{direction}")(
        gates=GATES[cell],
        batch=batch,
        hidden=hidden,
        element_size=element_size,
        compute_size=compute_size,
        **DEVICES[device]._asdict(),
    )


# The largest hidden size that takes one launch a sequence, at a batch of one: float32 and bfloat16
# of RNN, LSTM and GRU, forward then backward.
LARGEST = {
    "sm_75 (T4)": ((112, 112), (61, 55), (69, 66), (179, 179), (88, 81), (96, 96)),
    "sm_80 (A100)": ((203, 203), (100, 91), (112, 112), (286, 286), (143, 142), (166, 164)),
    "sm_86 (A10)": ((158, 158), (76, 77), (90, 80), (223, 223), (104, 96), (129, 103)),
    "sm_89 (L4)": ((158, 158), (76, 77), (90, 80), (223, 223), (104, 96), (129, 103)),
    "sm_90 (H100)": ((240, 240), (116, 112), (138, 138), (320, 320), (169, 160), (196, 190)),
    "sm_100 (B200)": ((240, 240), (116, 112), (138, 138), (320, 320), (169, 160), (196, 190)),
    "sm_120 (RTX 5090)": ((158, 158), (76, 77), (90, 80), (223, 223), (104, 96), (129, 103)),
}


@pytest.mark.parametrize("device", LARGEST)
def test_largest_hidden_size(device: str) -> None:
    found = tuple(
        tuple(largest(direction, device, cell, dtype) for direction in ("forward", "backward"))
        for dtype in ("float32", "bfloat16")
        for cell in ("rnn_tanh", "lstm", "gru")
    )
    assert found == LARGEST[device]


def largest(direction: str, device: str, cell: str, dtype: str) -> int:
    """Some smaller ones may not fit, whose rows in shared memory need more room between them."""
    return max(h for h in range(1, 600) if plan(direction, device, cell, dtype, 1, h))


@each_device
@each_pass
def test_invariants(direction: str, device: str) -> None:
    """A launch that the device takes, in which every unit of every sequence has its lanes."""
    planned = 0
    for cell, dtype, batch, hidden in itertools.product(
        CELLS, DTYPES, (1, 5, 40, 173, 1000), (1, 7, 16, 33, 64, 96, 128, 200, 256, 512, 513)
    ):
        found = plan(direction, device, cell, dtype, batch, hidden)
        if found is None:
            continue
        planned += 1
        assert found["rows"] in (1, 4)
        assert found["slices"] in (1, 2, 4, 8, 16, 32) and found["slices"] >= found["rows"]
        assert found["threads"] % 32 == 0 and found["threads"] <= 512
        assert hidden * found["slices"] <= found["threads"] < hidden * found["slices"] + 32
        assert batch <= found["rows"] * found["blocks"] < batch + found["rows"]
        assert found["shared_bytes"] <= DEVICES[device].shared_bytes
        width = hidden if direction == "backward" else GATES[cell] * hidden
        assert width <= found["pitch"] < width + 128 // DTYPES[dtype][0]
    assert planned > 100


@each_pass
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("hidden", [1, 7, 16, 33, 64, 96, 128])
def test_no_bank_conflict(direction: str, dtype: str, hidden: int) -> None:
    """The lanes of a warp read weights from different banks, or the same word of one."""
    found = plan(direction, "sm_90 (H100)", "gru", dtype, 1, hidden)
    if found is None:
        pytest.skip("takes the step path")
    element_size, slices = DTYPES[dtype][0], found["slices"]
    for first in range(0, hidden * slices, 32):
        words: dict[int, set[int]] = {}
        for thread in range(first, min(first + 32, hidden * slices)):
            unit, depth = divmod(thread, slices)
            word = (depth * found["pitch"] + unit) * element_size // 4
            words.setdefault(word % 32, set()).add(word)
        assert all(len(same_bank) == 1 for same_bank in words.values())


@each_pass
def test_few_sequences_one_a_block(direction: str) -> None:
    """A batch that multiprocessors can divide among them is not bundled; a larger one is."""
    for batch, rows in ((1, 1), (132, 1), (133, 4)):
        assert plan(direction, "sm_90 (H100)", "gru", "float32", batch, 64)["rows"] == rows


@each_device
@each_pass
def test_many_sequences_take_the_other_path(direction: str, device: str) -> None:
    """Waves of blocks would take longer than two launches a step."""
    assert plan(direction, device, "lstm", "float32", 100_000, 64) is None


@each_pass
def test_no_sequences_no_plan(direction: str) -> None:
    assert plan(direction, "sm_90 (H100)", "gru", "float32", 0, 16) is None


@each_pass
def test_shared_memory_to_the_last_byte(direction: str) -> None:
    make = getattr(emulated_module(), f"plan_{direction}")
    problem = {"gates": 3, "batch": 1, "hidden": 16, "element_size": 4, "compute_size": 4}
    limits = {"multiprocessors": 4, "shared_bytes": 227 * 1024}
    found = make(**problem, **limits)
    assert make(**problem, **{**limits, "shared_bytes": found["shared_bytes"]}) == found
    assert make(**problem, **{**limits, "shared_bytes": found["shared_bytes"] - 1}) is None
    assert make(**problem, **{**limits, "shared_bytes": 0}) is None


@each_pass
@pytest.mark.parametrize(
    ("batch", "hidden", "rows", "slices"),
    [
        (1, 8, 1, 32),
        (1, 9, 1, 16),
        (1, 128, 1, 2),
        (1, 129, 1, 1),
        (133, 16, 4, 32),
        (133, 17, 4, 16),
        (133, 128, 4, 4),
        (133, 129, 1, 1),
    ],
)
def test_lanes_of_a_unit(direction: str, batch: int, hidden: int, rows: int, slices: int) -> None:
    """As many as the threads of a block allow: 256 of them for one row, 512 for four."""
    found = plan(direction, "sm_90 (H100)", "rnn_tanh", "float32", batch, hidden)
    assert (found["rows"], found["slices"]) == (rows, slices)


@pytest.mark.parametrize(
    ("size", "hidden", "width", "block", "grid"),
    [
        (1, 1, 1, (1, 256), (1, 1)),
        (257, 1, 1, (1, 256), (2, 1)),
        (5, 7, 1, (8, 32), (1, 1)),
        (5, 8, 1, (8, 32), (1, 1)),
        (33, 32, 4, (8, 32), (2, 1)),
        (3, 256, 1, (256, 1), (3, 1)),
        (3, 257, 1, (256, 1), (3, 2)),
        (3, 1028, 4, (256, 1), (3, 2)),
    ],
)
def test_threads_of_a_step(
    size: int, hidden: int, width: int, block: tuple[int, int], grid: tuple[int, int]
) -> None:
    """As few lanes without a unit as a power of two allows, and 256 threads."""
    found = emulated_module().plan_step(size=size, hidden=hidden, width=width)
    assert (found["block"], found["grid"]) == (block, grid)

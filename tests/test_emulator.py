"""The emulator of tests/emulator finds each kind of bug, names its line, and is silent without one.

Every case of tests/emulator/litmus runs in three builds, in every order; `{name}` in an expected
report stands for the file and line of the comment `@name`.
"""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from emulator import build

LITMUS = Path(__file__).parent / "emulator" / "litmus"
ALL = ("plain", "asan", "race")
FIFO, LIFO, RANDOM = "0", "1", "2"

pytestmark = pytest.mark.skipif(not build.available(), reason="needs Linux, g++ and ninja")

THREAD = r"block \(\d,0,0\) thread \(\d+,0,0\)"


@dataclass(frozen=True)
class Bug:
    """What the report of every run must match, in these builds; in others there may be none."""

    name: str
    report: str
    builds: tuple[str, ...] = ALL


def race(first: str, second: str) -> str:
    """Two accesses without order, whichever came first."""
    access = rf"(atomic )?(read|write) by {THREAD} at ({{{first}}}|{{{second}}})"
    return f"data race: {access}\n  not ordered after the {access}"


MESSAGE = (
    rf"data race: read by {THREAD} at {{message.read}}\n"
    rf"  not ordered after the write by {THREAD} at {{message.write}}"
)
UNINITIALISED = rf"uninitialised shared memory: read by {THREAD} at "
ON_ITS_WAY = rf"destination of a cp.async on its way: read by {THREAD} at "

BUGS = [
    Bug("overlapping_masks", r"deadlock(.*\n)*  1 x __syncwarp at {overlap.first}, first block"),
    Bug("overlapping_masks", r"deadlock(.*\n)*  1 x __syncwarp at {overlap.second}, first block"),
    Bug(
        "divergent_barrier",
        "divergent: .* wait in __syncthreads at ({divergent.then}|{divergent.else})\n"
        rf"  in __syncthreads at ({{divergent.then}}|{{divergent.else}}), {THREAD}",
    ),
    Bug("early_exit", rf"exited.*\n  in __syncthreads at {{early_exit}}, {THREAD}"),
    Bug("early_exit_of_lane", "has exited.*\n  in __shfl_sync at {early_exit_of_lane}"),
    Bug("mask_without_caller", "not name the lane that calls\n  in __ballot_sync at {count_lanes}"),
    Bug("lane_missing", "deadlock(.*\n)*  31 x __shfl_sync at {lane_missing.shuffle}"),
    Bug("lane_missing", r"deadlock(.*\n)*.*{lane_missing.barrier}, first block.*\(5,0,0\)"),
    Bug("lane_absent", "does not take part\n  in __shfl_xor_sync at {sum_of_lanes}"),
    Bug("divergent_shuffle", "divergent: .* at ({divergent_shuffle.odd}|{divergent_shuffle.even})"),
    Bug("outside_width", "outside the width\n  in __shfl_sync at {outside_width}"),
    Bug("ordinary_launch", r"livelock(.*\n)*  2 x ld.acquire at {grid_barrier.poll}"),
    Bug("ordinary_launch", r"livelock(.*\n)*  126 x __syncthreads at {grid_barrier.wait}"),
    Bug("no_release", MESSAGE, ("race",)),
    Bug("no_acquire", MESSAGE, ("race",)),
    Bug("no_writer_fence", MESSAGE, ("race",)),
    Bug("no_reader_fence", MESSAGE, ("race",)),
    Bug("fence_on_wrong_side", MESSAGE, ("race",)),
    Bug("volatile_spin", race("volatile_spin.read", "volatile_spin.write"), ("race",)),
    Bug("no_barrier", UNINITIALISED + "{neighbours.read}", ("race",)),
    Bug("shuffle_for_barrier", race("neighbours.read", "neighbours.write"), ("race",)),
    Bug("overwritten", race("overwritten.read", "overwritten.write"), ("race",)),
    Bug("overwritten_by_other_block", race("overwritten.read", "overwritten.write"), ("race",)),
    Bug("overwritten_after_shuffle", race("after_shuffle.read", "after_shuffle.write"), ("race",)),
    Bug("between_barriers", race("between.read", "between.write"), ("race",)),
    Bug("lost_update", race("count", "count"), ("race",)),
    Bug("uninitialised", UNINITIALISED + "{uninitialised}", ("race",)),
    Bug("uninitialised", "not a number", ALL[:2]),
    Bug("overrun", rf"outside a shared array: write by {THREAD} at {{two_arrays}}", ("race",)),
    Bug("overrun", r"heap-buffer-overflow(.*\n)*    #0 .*{two_arrays}", ("asan",)),
    Bug("greedy", "takes 32 bytes .* gives 24\n  in SharedArena::take at {greedy}"),
    Bug("disagreeing", "different shared arrays\n  in SharedArena::take at {disagreeing}"),
    Bug("misaligned_vector", rf"misaligned.*\n  in a vector access at {{vectors}}, {THREAD}"),
    Bug("unchecked_vector", "{unchecked_vectors}.* misaligned address", ("asan",)),
    Bug("misaligned_copy", "misaligned.*\n  in cp.async at {misaligned_copy}"),
    Bug("copy_not_committed", "never waited for.*\n  in cp.async at {copies.issue}", ALL[:2]),
    Bug("copy_not_committed", ON_ITS_WAY + "{copies.read}", ("race",)),
    Bug("copy_not_waited_for", "never waited for.*\n  in cp.async at {copies.issue}", ALL[:2]),
    Bug("copy_not_waited_for", ON_ITS_WAY + "{copies.read}", ("race",)),
    Bug("copy_unread_not_waited_for", "never waited for.*\n  in cp.async at {unread}"),
    Bug("copy_without_barrier", UNINITIALISED + "{copies.read}", ("race",)),
    Bug("read_before_wait", "wrong numbers", ALL[:2]),
    Bug("read_before_wait", ON_ITS_WAY + "{early_read}", ("race",)),
    Bug("source_overwritten", race("touched.source", "touched.wait"), ("race",)),
    Bug(
        "destination_overwritten",
        rf"destination of a cp.async on its way: write by {THREAD} at {{touched.destination}}|"
        + race("touched.destination", "touched.wait"),
        ("race",),
    ),
    Bug("waits_for_too_little", "wrong numbers", ALL[:2]),
    Bug("waits_for_too_little", ON_ITS_WAY + "{double_buffer.read}", ("race",)),
    Bug("throwing", "^thrown by the kernel$"),
]

GOOD = [
    *("good_barrier", "good_exit", "good_mask", "good_collectives"),
    *("good_fences", "good_release_acquire", "good_release_fence", "good_cooperative_launch"),
    *("good_syncwarp", "good_syncthreads", "good_overwritten", "good_third_barrier", "good_atomic"),
    *("good_initialised", "good_two_arrays", "good_greedy", "good_agreeing", "good_vector"),
    *("good_copy", "good_read", "good_untouched_copy", "good_double_buffer", "good_refusals"),
]
GOOD_IN_RACE_ONLY = ["good_volatile_spin"]  # elsewhere a spin on a volatile is no turn for others


@cache
def program(mode: str) -> Path:
    return build.build_program(mode, "litmus", *sorted(LITMUS.glob("*.cu")))


@cache
def reports(mode: str, *arguments: str) -> list[str]:
    """The report of each run, empty where it found nothing; a sanitizer's ends the last."""
    result = subprocess.run(
        [str(program(mode)), *arguments], capture_output=True, text=True, timeout=60
    )
    runs = re.split(r"^== .*\n", result.stdout, flags=re.MULTILINE)[1:]
    assert runs, result.stderr
    if result.returncode != 0:
        runs[-1] += result.stderr
    return runs


@cache
def places() -> dict[str, str]:
    found = {}
    for path in LITMUS.glob("*.cu"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if tag := re.search(r"// @(\S+)$", line):
                assert tag[1] not in found
                found[tag[1]] = rf"{re.escape(path.name)}:{number}"
    return found


def expected(report: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{([a-z_.]+)}", lambda tag: places()[tag[1]] + r"\b", report))


@pytest.mark.parametrize(
    ("bug", "mode"),
    [pytest.param(bug, mode, id=f"{bug.name}-{mode}") for bug in BUGS for mode in bug.builds],
)
def test_finds(bug: Bug, mode: str) -> None:
    pattern = expected(bug.report)
    for report in reports(mode, bug.name):
        assert pattern.search(report), f"{report}\ndoes not match\n{pattern.pattern}"


@pytest.mark.parametrize("mode", ALL)
def test_is_silent(mode: str) -> None:
    for name in GOOD + (GOOD_IN_RACE_ONLY if mode == "race" else []):
        assert reports(mode, name) == [""] * 7, name


def test_every_case_is_tested() -> None:
    listed = subprocess.check_output([str(program("plain"))], text=True).split()
    assert {bug.name for bug in BUGS} | {*GOOD, *GOOD_IN_RACE_ONLY, "show_order"} == set(listed)


@pytest.mark.parametrize("mode", ALL)
def test_seed_reproduces(mode: str) -> None:
    def order(which: str, seed: int) -> str:
        (report,) = reports.__wrapped__(mode, "show_order", which, str(seed))
        return str(report)

    assert order(FIFO, 1) == "order: " + " ".join(map(str, range(16))) + "\n"
    assert order(LIFO, 1) == "order: " + " ".join(map(str, reversed(range(16)))) + "\n"
    orders = [order(RANDOM, seed) for seed in range(8)]
    assert orders == [order(RANDOM, seed) for seed in range(8)]
    assert len(set(orders)) == 8

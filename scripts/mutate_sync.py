#!/usr/bin/env python3
"""Plants bugs in the CUDA kernels, one at a time, and demands that the tests catch every one.

The bugs are those of mutations.py: every synchronisation deleted or weakened, every guard dropped,
and more. For each, what includes the changed file is compiled for the emulator and the suite run:
first plain, then with AddressSanitizer, then with the race detector, until one catches it. A mutant
that no test can catch must be in EQUIVALENT, with the reason. docs/mutations.md is the output of
--markdown. Needs g++, ninja and PyTorch; on two cores all mutants take about an hour.
"""

import argparse
import contextlib
import functools
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from mutations import Mutant, all_mutants

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from emulator import build  # noqa: E402

MODES = ("plain", "asan", "race")
SUITE = ["tests/test_schedules.py"]
# Bounds do not depend on the schedule, and races hardly; both builds are slow.
SELECTION = {
    "plain": [],
    "asan": ["-k", "not lifo and not random and not bits"],
    "race": ["-k", "not lifo and not random:2 and not bits"],
}
HOST_SUITE = ["tests/test_cuda_plan.py", "tests/test_cuda_paths.py"]  # of what decides a launch
HOST_FILES = ("plan.cpp", "runs.cpp", "launch.cuh", "step_forward.cu", "step_backward.cu")

EQUIVALENT: dict[tuple[str, str], str] = {  # Mutant.key: why nothing can be wrong
    (
        "cuda/persistent_backward.cuh",
        "const GateGradients<S, T> to{{p.d_xg + at}, {true ? p.dr + at : nullptr}};",
    ): "where dr is null the cell has no dr of its own, and nothing goes there",
    (
        "cuda/plan.cpp",
        "if (plan.slices < rows || false) return std::nullopt;",
    ): "by the model below so many units take longer than the step path",
    (
        "cuda/plan.cpp",
        "if (plan.slices < rows || shape.hidden >= kPersistentThreads) return std::nullopt;",
    ): "by the model below so many units take longer than the step path",
    (
        "cuda/plan.cpp",
        "waves * cycles_of(plan, product, shape.gates) >= kStepPathCycles) {",
    ): "no number of cycles is the limit itself; both paths are right",
    (
        "cuda/runs.h",
        "while (near + 1 < runs.count && true) ++near;",
    ): "the next line walks back to the run",
    (
        "cuda/runs.cpp",
        "runs.direction = steps.size() > 1 && steps[1].row <= steps[0].row ? -1 : 1;",
    ): "no two steps have the same row",
}

# What a failing run says, and what that is in the table; the first that is found.
CAUGHT = (
    (r"AddressSanitizer: ([\w-]+)", r"ASan: \1"),
    (r"runtime error: (.{,50})", r"UBSan: \1"),
    (r"RuntimeError: (data race)", r"\1"),
    (r"RuntimeError: fused_rnn: starting the CUDA kernel", "refused launch"),
    (r"RuntimeError: ([^:\n]{,50})", r"emulator: \1"),
    (r"AssertionError.*not close|assert torch.equal", "numbers"),
    (r"AssertionError|^E +assert |DID NOT RAISE", "assertion"),
    (r"(?s)^E +(\w+Error): .*^FAILED ", r"\1"),
)


@dataclass
class Result:
    mutant: Mutant
    caught: dict[str, str | None] = field(default_factory=dict)  # by mode: how, or None
    error: str = ""  # the mutant is no mutant: it does not compile, or the run is broken

    @property
    def survived(self) -> bool:
        return not any(self.caught.values())

    @property
    def reason(self) -> str | None:
        return EQUIVALENT.get(self.mutant.key)

    @property
    def verdict(self) -> str:
        """What there is to say against it; empty if all is well."""
        if self.error:
            return f"BROKEN: {self.error}"
        if self.survived and self.reason is None:
            return "SURVIVED"
        if not self.survived and self.reason is not None:
            return "CAUGHT, but is said to be equivalent"
        return ""


def suite_of(file: str, mode: str) -> tuple[str, ...]:
    more = HOST_SUITE if file.removeprefix("cuda/") in HOST_FILES and mode == "plain" else []
    return (*SUITE, *more, *SELECTION[mode])


def how_it_failed(mode: str, module: Path, suite: Sequence[str], timeout: float) -> str | None:
    """Runs tests up to the first failure; None if there is none."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    env = build.environment(mode) | {"FUSED_RNN_EMULATED_MODULE": str(module)}
    run = functools.partial(subprocess.run, cwd=ROOT, env=env, capture_output=True, text=True)
    try:
        result = run([*command, "--capture=sys", "--tb=short", *suite], timeout=timeout)
    except subprocess.TimeoutExpired:
        return "time-out"
    if result.returncode == 0:
        return None
    output = result.stdout + result.stderr
    broken = re.search(r"^ERROR ", output, re.MULTILINE)  # of pytest: not in a test
    for pattern, how in CAUGHT:
        if not broken and (match := re.search(pattern, output, re.MULTILINE)):
            return match.expand(how)
    if result.returncode < 0:
        return f"crash: {signal.Signals(-result.returncode).name}"
    raise RuntimeError(f"pytest failed for another reason:\n{output[-2000:]}")


_compiling, _measuring = threading.Lock(), threading.Lock()  # of several jobs, one does


@functools.cache
def _seconds_unchanged(mode: str, suite: tuple[str, ...]) -> float:
    with _compiling:
        module = build.build_module(mode)
    start = time.monotonic()
    if how := how_it_failed(mode, module, suite, timeout=1200):
        raise SystemExit(f"the unchanged kernels fail in {mode}: {how}")
    return time.monotonic() - start


def seconds_unchanged(mode: str, suite: tuple[str, ...]) -> float:
    with _measuring:
        return _seconds_unchanged(mode, suite)


@contextlib.contextmanager
def module_with(mutant: Mutant, mode: str) -> Iterator[Path]:
    """The emulated module in which the mutant's file stands in place of the real one."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name).resolve()
        changed = folder / "csrc" / mutant.file
        changed.parent.mkdir(parents=True)
        changed.write_text(mutant.mutated)
        with _compiling:
            module = build.build_module(mode, folder / "csrc", folder / mode)
        yield module


def try_mutant(mutant: Mutant, every_mode: bool) -> Result:
    result = Result(mutant)
    for mode in MODES:
        suite = suite_of(mutant.file, mode)
        timeout = 60 + 4 * seconds_unchanged(mode, suite)
        try:
            with module_with(mutant, mode) as module:
                result.caught[mode] = how_it_failed(mode, module, suite, timeout)
        except RuntimeError as error:
            result.error = str(error)
            break
        # A hang may be more: another build may say what.
        if result.caught[mode] not in (None, "time-out") and not every_mode:
            break
    return result


def cells(result: Result) -> list[str]:
    by_mode = [result.caught.get(mode, "") for mode in MODES]
    return ["passes" if how is None else how for how in by_mode]


def markdown(results: Sequence[Result], seconds: float) -> Iterator[str]:
    versions = subprocess.check_output([build.COMPILER, "--version"], text=True).splitlines()[0]
    yield "# Bugs planted in the CUDA kernels\n"
    yield "Made by `scripts/mutate_sync.py --markdown docs/mutations.md`; do not edit. One change"
    yield "at a time, and how the tests failed in a build of the emulator. Empty: not tried, since"
    yield "a build before had caught it.\n"
    yield f"{date.today()}, {versions}, Python {platform.python_version()}, {seconds / 60:.0f} min."
    yield summary(results) + "\n"
    yield "| rule | place | change | plain | asan | race |"
    yield "|:--|:--|:--|:--|:--|:--|"
    caught = [r for r in results if r.reason is None]
    for result in caught:
        m = result.mutant
        place = f"{m.file.split('/')[1]}:{m.line}"
        change = f"`{' '.join(m.old.split())}` → `{m.new or ' '}`".replace("|", "\\|")
        yield f"| {m.rule} | {place} | {change} | {' | '.join(cells(result))} |"
    if len(caught) == len(results):
        return
    yield "\n## Equivalent\n"
    yield "Changes that leave every result as it is; no test can catch them.\n"
    yield "| place | change | why |"
    yield "|:--|:--|:--|"
    for result in results:
        if result.reason is not None:
            m = result.mutant
            change = f"`{' '.join(m.old.split())}` → `{m.new or ' '}`".replace("|", "\\|")
            yield f"| {m.file.split('/')[1]}:{m.line} | {change} | {result.reason} |"


def summary(results: Sequence[Result]) -> str:
    counted = Counter(mode for r in results for mode in MODES if r.caught.get(mode))
    tried = Counter(mode for r in results for mode in r.caught if r.reason is None)
    by_mode = ", ".join(f"{mode} {counted[mode]} of {tried[mode]}" for mode in MODES)
    equivalent = sum(r.reason is not None for r in results)
    return f"{len(results)} mutants, {equivalent} of them equivalent; caught by {by_mode}."


def chosen(arguments: argparse.Namespace) -> list[Mutant]:
    mutants = all_mutants()
    keys = {mutant.key for mutant in mutants}
    if stale := [key for key in EQUIVALENT if key not in keys]:
        raise SystemExit(f"EQUIVALENT names mutants that are none: {stale}")
    if arguments.only:
        mutants = [m for m in mutants if re.search(arguments.only, str(m))]
    if arguments.sample is not None:
        mutants = [m for m in mutants if m.key not in EQUIVALENT]
        mutants = random.Random(arguments.seed).sample(mutants, arguments.sample)
    return mutants


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="tests at a time; MAX_JOBS compilers"
    )
    parser.add_argument("--only", metavar="PATTERN", help="those whose line in --list matches")
    parser.add_argument("--sample", type=int, metavar="N", help="so many, chosen by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-mode", action="store_true", help="go on where one has caught it")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table there")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    return parser.parse_args()


def main() -> int:
    arguments, start = parse(), time.monotonic()
    mutants = chosen(arguments)
    if arguments.list:
        print("\n".join(map(str, mutants)))
        return 0
    results = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(lambda m: try_mutant(m, arguments.every_mode), mutants):
            results.append(result)
            shown = ", ".join(f"{mode}: {how or 'passes'}" for mode, how in result.caught.items())
            print(f"{result.mutant}\n    {shown} {result.verdict}", flush=True)
    seconds = time.monotonic() - start
    print(f"{summary(results)} {seconds:.0f} s")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(markdown(results, seconds)) + "\n")
    bad = [result for result in results if result.verdict]
    for result in bad:
        print(f"{result.verdict}\n    {result.mutant}")
    return 1 if bad or not results else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What a compiler can say about the CUDA kernels without a GPU, and what the plan makes of them.

Compiles every csrc/cuda/*.cu for every architecture (cuda_kernels.py) and prints registers, spills,
shared memory, occupancy and what is wrong; --check fails on the last. docs/gpu_static.md is the
output of --markdown. Needs nvcc, a C++ compiler and c++filt; MAX_JOBS (2) limits the compilers.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cuda_kernels import CSRC, Kernel, compile_all, find_nvcc, problems, run

WARP, REGISTERS = 32, 65536  # lanes, and registers of a multiprocessor
STEP_THREADS = 256  # of a block of a step's kernel: plan_step in csrc/cuda/plan.cpp

Row = dict[str, Any]  # a kernel and its launch, as --json has them


@dataclass(frozen=True)
class Device:
    """CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"."""

    warps: int  # of a multiprocessor, at most; so blocks and shared_bytes
    blocks: int
    shared_bytes: int
    block_shared_bytes: int  # that a block may ask for
    multiprocessors: int  # of the GPU that is named
    name: str

    @property
    def reserved_bytes(self) -> int:  # of the shared memory, by CUDA for each block
        return self.shared_bytes - self.block_shared_bytes


KIB = 1024
DEVICES = {
    75: Device(32, 16, 64 * KIB, 64 * KIB, 40, "T4"),
    80: Device(64, 32, 164 * KIB, 163 * KIB, 108, "A100"),
    86: Device(48, 16, 100 * KIB, 99 * KIB, 72, "A10"),
    89: Device(48, 24, 100 * KIB, 99 * KIB, 58, "L4"),
    90: Device(64, 32, 228 * KIB, 227 * KIB, 132, "H100 SXM"),
    100: Device(64, 32, 228 * KIB, 227 * KIB, 148, "B200"),
    120: Device(48, 24, 100 * KIB, 99 * KIB, 170, "RTX 5090"),
}


_PLAN = """
#include <iostream>
#include <string>
#include "cells/table.h"
#include "cuda/plan.h"
using namespace fused_rnn;
using namespace fused_rnn::cuda;
int main() {  // forward cell rows batch element_size compute_size multiprocessors shared_bytes
  bool forward;
  std::string cell;
  int rows;
  Shape shape{};
  DeviceLimits device{};
  while (std::cin >> forward >> cell >> rows >> shape.batch >> shape.element_size >>
         shape.compute_size >> device.multiprocessors >> device.shared_bytes) {
    for (const CellInfo& info : Cells::kInfo) {
      if (cell == info.name) shape.gates = info.gates;
    }
    std::optional<PersistentPlan> plan;
    for (shape.hidden = kPersistentThreads; shape.hidden > 0 && !plan; shape.hidden -= !plan) {
      plan = (forward ? plan_forward : plan_backward)(shape, device);
      if (plan && plan->rows != rows) plan.reset();
      if (plan) std::cout << shape.hidden << ' ' << plan->threads << ' ' << plan->shared_bytes;
    }
    std::cout << std::endl;
  }
}
"""


@dataclass(frozen=True)
class Launch:
    """A block of the largest hidden size that the plan gives to a kernel; of a step's, any."""

    hidden: int
    threads: int
    shared_bytes: int


def plan_launches(kernels: Iterable[Kernel]) -> dict[tuple[str, int], Launch]:
    """By the kernel's name and architecture. No entry: the plan never takes it."""
    persistent = [kernel for kernel in kernels if kernel.persistent]
    questions = []
    for kernel in persistent:
        device = DEVICES[kernel.arch]
        batch = 1 if kernel.lanes == 1 else device.multiprocessors + 1
        stored = {"double": 8, "float": 4}.get(kernel.dtype, 2)
        limits = [device.multiprocessors, device.block_shared_bytes]
        forward = int("forward" in kernel.function)
        widths = [stored, max(stored, 4)]
        questions.append([forward, kernel.cell, kernel.lanes, batch, *widths, *limits])
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "plan.cpp", Path(folder) / "plan"
        source.write_text(_PLAN)
        compiler = shlex.split(os.environ.get("CXX", "c++"))
        flags = ["-std=c++20", "-O1", f"-I{CSRC}", "-o", str(program)]
        run([*compiler, *flags, source, CSRC / "cuda" / "plan.cpp"])
        lines = "\n".join(" ".join(map(str, question)) for question in questions)
        answers = run([program], input=lines + "\n").splitlines()
    return {
        (str(kernel), kernel.arch): Launch(*map(int, answer.split()))
        for kernel, answer in zip(persistent, answers, strict=True)
        if answer
    }


def resident_blocks(kernel: Kernel, threads: int, shared_bytes: int) -> int:
    """Blocks of a multiprocessor at once, as cuda_occupancy.h of the CUDA toolkit has it.

    Registers are handed out to a warp, 256 at a time, in each of four parts of a multiprocessor;
    shared memory to a block, 128 bytes at a time (256 before 8.0), with what CUDA reserves.
    """
    device = DEVICES[kernel.arch]
    warps = -(-threads // WARP)
    of_warp = -(-kernel.report.registers * WARP // 256) * 256
    by_registers = REGISTERS // 4 // of_warp * 4 // warps
    unit = 128 if kernel.arch >= 80 else 256
    shared = -(-(shared_bytes + kernel.report.shared + device.reserved_bytes) // unit) * unit
    by_shared = device.shared_bytes // shared if shared else device.blocks
    return min(device.blocks, device.warps // warps, by_registers, by_shared)


def row_of(kernel: Kernel, launches: dict[tuple[str, int], Launch]) -> Row:
    """A kernel and its launch in plain values."""
    default = None if kernel.persistent else Launch(0, STEP_THREADS, 0)
    launch = launches.get((str(kernel), kernel.arch), default)
    row: Row = {"kernel": str(kernel), **asdict(kernel), **asdict(kernel.report)}
    row["problems"] = problems(kernel)
    del row["report"]
    if launch:
        blocks = resident_blocks(kernel, launch.threads, launch.shared_bytes)
        warps = blocks * -(-launch.threads // WARP)
        row |= {"hidden": launch.hidden, "threads": launch.threads}
        row |= {"dynamic_shared": launch.shared_bytes, "blocks": blocks}
        row["occupancy"] = f"{warps / DEVICES[kernel.arch].warps:.0%}"
    return row


def print_table(rows: Iterable[Row]) -> None:
    columns = ["registers", "spill_stores", "spill_loads", "stack", "shared", "dynamic_shared"]
    columns += ["hidden", "threads", "blocks", "occupancy"]
    print(f"{'kernel':42} arch", *columns, "problems")
    for row in rows:
        cells = (f"{row.get(column, '-'):>{len(column)}}" for column in columns)
        print(f"{row['kernel']:42} {row['arch']:>4}", *cells, "; ".join(row["problems"]))


def same_columns(archs: Sequence[int], table: Sequence[Sequence[str]]) -> list[list[int]]:
    """Neighbouring columns of a table that are equal, as indices."""
    groups: list[list[int]] = []
    for i in range(len(archs)):
        if groups and all(row[i] == row[groups[-1][0]] for row in table):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def markdown_table(
    labels: Sequence[str], archs: Sequence[int], rows: dict[tuple[str, ...], list[str]]
) -> str:
    """One column for all neighbouring architectures that are equal in every row."""
    groups = same_columns(archs, list(rows.values()))
    heads = [*labels, *("sm_" + " ".join(str(archs[i]) for i in group) for group in groups)]
    lines = [heads, [":--"] * len(labels) + ["--:"] * len(groups)]
    lines += [[*key, *(cells[group[0]] for group in groups)] for key, cells in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown(rows: Sequence[Row], nvcc_release: str) -> str:
    archs = sorted({row["arch"] for row in rows})
    registers: dict[tuple[str, ...], list[str]] = {}
    launches: dict[tuple[str, ...], list[str]] = {}
    for key in dict.fromkeys(table_key(row) for row in rows):
        of_key = [row for row in rows if table_key(row) == key]
        occupancy = [int(row["occupancy"][:-1]) for row in of_key if "occupancy" in row] or [0]
        label = " to ".join(f"{o}%" for o in sorted({min(occupancy), max(occupancy)}))
        registers[(*key, label)] = [
            str(max(row["registers"] for row in of_key if row["arch"] == arch)) for arch in archs
        ]
    for row in rows:
        twin = row["cell"] == "rnn_relu" or row["dtype"] == "bf16"  # of rnn_tanh, of f16
        if row["function"].startswith("persistent") and not twin:
            key = (row["function"], row["cell"].removesuffix("_tanh"))
            key += (row["dtype"].replace("f16", "f16, bf16"), str(row["lanes"]))
            cell = "-"
            if "hidden" in row:
                cell = f"{row['hidden']}, {row['dynamic_shared'] / KIB:.0f} K, {row['blocks']}"
            launches.setdefault(key, []).append(cell)
    wrong = [f"- {row['kernel']}, sm_{row['arch']}: {p}" for row in rows for p in row["problems"]]
    return MARKDOWN.format(
        nvcc=nvcc_release,
        count=len(rows) // len(archs),
        registers=markdown_table(
            ["kernel", "cell", "computed in", "instance", "occupancy"], archs, registers
        ),
        launches=markdown_table(["kernel", "cell", "stored", "rows"], archs, launches),
        wrong="\n".join(wrong) or "Nothing.",
    )


def table_key(row: Row) -> tuple[str, ...]:
    lanes = "rows" if row["function"].startswith("persistent") else "width"
    computed = row["dtype"].replace("bf16", "float").replace("f16", "float")
    return row["function"], row["cell"], computed, f"{lanes} {row['lanes']}"


MARKDOWN = """\
# The CUDA kernels as compiled

Written by `scripts/cuda_static.py --markdown`, with nvcc {nvcc}; nothing was run.
{count} kernels an architecture.

## What is wrong

Spills, stack, local memory, 64-bit division, and instructions that a kernel should have: vector
loads and stores in the instances for several units, 16-byte shared loads in those for several rows,
shuffles in persistent kernels, fused multiply-add.

{wrong}

## Registers of a thread

The largest over the dtypes that are stored. The occupancy is over these and all architectures, of
the blocks that the plan makes: of persistent kernels, at the largest hidden size.

{registers}

## Persistent kernels at the largest hidden size that the plan gives them

Hidden size, dynamic shared memory of a block, blocks of a multiprocessor at once.

{launches}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", type=int, nargs="+", choices=DEVICES, default=list(DEVICES))
    parser.add_argument("--check", action="store_true", help="status 1 if something is wrong")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    nvcc = find_nvcc()
    if nvcc is None:
        raise SystemExit("cuda_static.py needs nvcc, on PATH or in CUDA_HOME.")
    known = run([nvcc, "--list-gpu-code"]).split()
    archs = [arch for arch in options.arch if f"sm_{arch}" in known]
    if left_out := sorted(set(options.arch) - set(archs)):
        print(f"{nvcc} does not compile for {left_out}.", file=sys.stderr)
    kernels = compile_all(nvcc, sorted(CSRC.glob("cuda/*.cu")), archs)
    launches = plan_launches(kernels)
    rows = [row_of(kernel, launches) for kernel in kernels]
    if options.json:
        print(json.dumps(rows, indent=1))
    elif options.markdown:
        release = run([nvcc, "--version"]).split("release ")[1].split(",")[0]
        print(markdown(rows, release), end="")
    else:
        print_table(rows)
    wrong = [row for row in rows if row["problems"]]
    if options.check:
        for row in wrong:
            print(
                f"{row['kernel']}, sm_{row['arch']}: {'; '.join(row['problems'])}", file=sys.stderr
            )
    return 1 if options.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The CUDA kernels as nvcc makes them without a GPU: what ptxas reports of each, and its PTX.

A Kernel is one instance of a template, for one architecture. problems() says what is wrong with it:
a spill, local memory, or an instruction that it should have and has not.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"
FLAGS = ["-std=c++20", "-O3", f"-I{CSRC}"]


@dataclass(frozen=True)
class Report:
    """What ptxas says of a kernel; bytes but for the registers."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int  # static


@dataclass(frozen=True)
class Kernel:
    function: str  # step_forward, ...
    cell: str
    dtype: str  # as stored: double, float, f16, bf16
    lanes: int  # a step's width; rows of a persistent block
    arch: int
    report: Report
    instructions: dict[str, int]  # of the PTX, with their suffixes

    @property
    def persistent(self) -> bool:
        return self.function.startswith("persistent")

    def __str__(self) -> str:
        lanes = f"{'rows' if self.persistent else 'width'} {self.lanes}"
        return f"{self.function} {self.cell} {self.dtype} {lanes}"

    def count(self, pattern: str) -> int:
        return sum(n for name, n in self.instructions.items() if re.fullmatch(pattern, name))


def vector_loads(kernel: Kernel) -> Iterable[tuple[str, str]]:
    """What moves several numbers at once, where the kernel is the instance that does so."""
    halves = kernel.dtype in ("f16", "bf16")
    wide = r"\.v2\.[bfu]64" if kernel.dtype == "double" else r"\.v4\.[bfu]32"
    narrow = r"\.v4\.[bu]16|\.v2\.[bu]32|\.[bu]64" if halves else wide
    if kernel.lanes == 1:
        return
    if kernel.persistent:
        yield "a shared load of 16 bytes", rf"ld\.shared{wide}"
    else:
        yield "a vector load from global memory", rf"ld\.global(\.nc)?({narrow})"
        yield "a vector store to global memory", rf"st\.global({narrow})"


def problems(kernel: Kernel) -> list[str]:
    """What is wrong with a kernel, as clauses."""
    found = []
    for what in ("stack", "spill_stores", "spill_loads"):
        if size := getattr(kernel.report, what):
            found.append(f"{size} bytes of {what.replace('_', ' ')}")
    for what, pattern in [
        ("local memory", r"(ld|st)\.local\..*"),
        ("64-bit division", r"(div|rem)\.[su]64"),
    ]:
        if kernel.count(pattern):
            found.append(f"{what}: {kernel.count(pattern)} instructions")
    required = list(vector_loads(kernel))
    if kernel.persistent:
        required.append(("a shuffle", r"shfl\.sync\..*"))
    # ptxas fuses more: the products that stand alone in PTX without a rounding modifier.
    if kernel.persistent or (kernel.function == "step_forward" and kernel.cell != "rnn_relu"):
        required.append(("a fused multiply-add", r"fma\.rn(\.ftz)?\.f(32|64)"))
    found += [f"without {what}" for what, pattern in required if not kernel.count(pattern)]
    return found


_REPORT = re.compile(
    r"Compiling entry function '(?P<name>[^']+)' for 'sm_\d+a?'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.S,
)
_ENTRY = re.compile(r"^\.visible \.entry (\w+)\(", re.M)
_INSTRUCTION = re.compile(r"^\s+(?:@!?%\w+\s+)?([a-z]\w*(?:\.[\w:]+)*)(?:\s[^\n]*)?;", re.M)


def parse_ptxas(log: str) -> dict[str, Report]:
    """What `ptxas -v` says, by the mangled name of the kernel."""
    reports = {}
    for found in _REPORT.finditer(log):
        shared = re.search(r"(\d+) bytes smem", found["rest"])
        reports[found["name"]] = Report(
            registers=int(found["registers"]),
            stack=int(found["stack"]),
            spill_stores=int(found["stores"]),
            spill_loads=int(found["loads"]),
            shared=int(shared[1]) if shared else 0,
        )
    return reports


def parse_ptx(text: str) -> dict[str, dict[str, int]]:
    """The instructions of each kernel, by its mangled name."""
    starts = list(_ENTRY.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {
        start[1]: dict(Counter(_INSTRUCTION.findall(text, start.end(), end)))
        for start, end in zip(starts, ends, strict=True)
    }


def parse_name(name: str) -> tuple[str, str, str, int]:
    """function, cell, dtype and lanes, from `void ns::function<ns::Cell, S, V, 4>(...)`."""
    plain = re.sub(r"\b\w+::", "", name.removeprefix("void "))
    found = re.match(r"(\w+)<(\w+), (\w+)(?:, (.+))?, (\d+)>\(", plain)
    if not found:
        return plain.split("(")[0], "", "", 1
    function, cell, stored, computed, lanes = found.groups()
    cell = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cell).lower()
    dtype = stored if stored in ("double", "float") else stored.lower()
    return function, cell, f"{dtype} dual" if "Dual" in (computed or "") else dtype, int(lanes)


def run(command: Sequence[str | Path], input: str | None = None) -> str:
    """What a command prints, or a SystemExit with its errors."""
    process = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, input=input
    )
    if process.returncode:
        raise SystemExit(f"{shlex.join(map(str, command))}\n{process.stdout[-3000:]}")
    return process.stdout


def find_nvcc() -> str | None:
    if home := os.environ.get("CUDA_HOME"):
        return shutil.which("nvcc", path=str(Path(home) / "bin"))
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def compile_kernels(nvcc: str, source: Path, arch: int) -> list[Kernel]:
    """The kernels of a file, as compiled for an architecture."""
    with tempfile.TemporaryDirectory() as folder:
        ptx = Path(folder) / "kernels.ptx"
        run([nvcc, *FLAGS, f"-arch=compute_{arch}", "-ptx", "-o", ptx, source])
        cubin = ptx.with_suffix(".cubin")
        log = run([nvcc, f"-arch=sm_{arch}", "-Xptxas=-v", "-cubin", "-o", cubin, ptx])
        instructions = parse_ptx(ptx.read_text())
    reports = parse_ptxas(log)
    if reports.keys() != instructions.keys():
        raise SystemExit(f"ptxas and the PTX of {source} do not name the same kernels")
    names = run(["c++filt"], input="\n".join(reports)).splitlines()
    return [
        Kernel(*parse_name(name), arch, report, instructions[mangled])
        for name, (mangled, report) in zip(names, reports.items(), strict=True)
    ]


def compile_all(nvcc: str, sources: Iterable[Path], archs: Iterable[int]) -> list[Kernel]:
    jobs = [(source, arch) for arch in archs for source in sources]
    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", "2"))) as pool:
        compiled = pool.map(lambda job: compile_kernels(nvcc, *job), jobs)
        return sorted(
            (kernel for kernels in compiled for kernel in kernels),
            key=lambda k: (k.function, k.cell, k.dtype, k.lanes, k.arch),
        )

"""Compiles kernels for the CPU together with the emulator, in one of three modes:

plain   no checks but the emulator's own
asan    AddressSanitizer and UndefinedBehaviorSanitizer: bounds
race    the emulator's race detector (race.cpp), called through -fsanitize=thread without libtsan

Products: build_program makes an executable, build_module the Python extension fused_rnn_emulated
of all kernels in csrc/cuda. Both are incremental and need g++ and ninja; MAX_JOBS limits the
compilers. From a shell: `build.py MODE` makes the module, `build.py MODE NAME SOURCES` a program.
"""

import fcntl
import importlib.machinery
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
CSRC = ROOT / "csrc"
BUILD = ROOT / "build" / "emulated"
COMPILER = os.environ.get("CXX", "g++")
MODULE = "fused_rnn_emulated"

SANITIZERS = {
    "plain": [],
    "asan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "race": ["-fsanitize=thread"],
}
KERNEL_FLAGS = {
    "plain": [],
    "asan": [*SANITIZERS["asan"], "-fno-omit-frame-pointer"],
    "race": [
        *SANITIZERS["race"],
        *("--param", "tsan-distinguish-volatile=1"),  # a spin on a volatile is seen
        *("--param", "tsan-instrument-func-entry-exit=0"),
    ],
}
HOST_FLAGS = {"plain": [], "asan": KERNEL_FLAGS["asan"], "race": []}
LINK_FLAGS = {"plain": [], "asan": SANITIZERS["asan"], "race": []}  # race.cpp in place of libtsan
COMMON = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", f"-I{TESTS}"]

EMULATOR = "fiber.cpp scheduler.cpp limits.cpp report.cpp barrier.cpp block_memory.cpp".split()
RACE = "race.cpp race_hooks.cpp clock.cpp source_line.cpp".split()

# The host side of the CUDA half, beside the kernels: it has tensors, and no sanitizer.
GLUE = [
    "steps.cpp",
    "torch/check.cpp",
    "torch/check_steps.cpp",
    "torch/outputs.cpp",
    "torch/unrolled.cpp",
    "torch/cuda_*ward.cpp",
]


class Graph:
    """What is made of what in one folder, as a file for ninja."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = [
            "rule compile",
            "  command = $compiler $flags -MD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule link",
            "  command = $compiler $in $flags -o $out",
            f"compiler = {_escape(COMPILER)}",
        ]

    def compile(self, source: Path, flags: Iterable[str]) -> Path:
        made = self.folder / f"{source.name}.o"
        return self._add("compile", made, [source], flags)

    def link(self, name: str, objects: Sequence[Path], flags: Iterable[str]) -> Path:
        return self._add("link", self.folder / name, objects, flags)

    def _add(self, rule: str, made: Path, of: Sequence[Path], flags: Iterable[str]) -> Path:
        sources = " ".join(_escape(str(path)) for path in of)
        self.lines += [f"build {_escape(str(made))}: {rule} {sources}"]
        self.lines += [f"  flags = {shlex.join(flags).replace('$', '$$')}"]
        return made

    def make(self) -> None:
        """Brings all of it up to date; one process at a time."""
        ninja = _ninja()
        if ninja is None:
            raise RuntimeError("ninja is not installed: pip install ninja")
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (self.folder / "build.ninja").write_text("\n".join(self.lines) + "\n")
            jobs = os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)
            command = [ninja, "-C", str(self.folder), "-j", jobs, "--quiet"]
            result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"the emulated kernels do not compile:\n{result.stdout[:8000]}")


def _escape(path: str) -> str:
    return path.replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def _ninja() -> str | None:
    folders = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    return shutil.which("ninja", path=folders)


def available() -> bool:
    """Whether this machine can compile: Linux, g++ and ninja."""
    return sys.platform == "linux" and None not in (shutil.which(COMPILER), _ninja())


def _emulator(mode: str) -> list[Path]:
    graph = Graph(BUILD / mode / "emulator")
    sources = EMULATOR + (RACE if mode == "race" else [])
    flags = [*COMMON, "-O2", "-g1", "-fno-gnu-unique", f"-DEMULATOR_{mode.upper()}"]
    objects = [graph.compile(TESTS / "emulator" / source, flags) for source in sources]
    graph.make()
    return objects


def _kernel_flags(mode: str, csrc: Path) -> list[str]:
    # -O1 -g1: lines of the source for the reports, and loops that stay loops, since a call of
    # memset or memcpy in their place would not be seen by the race detector.
    flags = [*COMMON, "-x", "c++", "-O1", "-g1", "-fno-gnu-unique", "-Wno-unknown-pragmas"]
    return [*flags, f"-I{csrc}", f"-I{CSRC}", *KERNEL_FLAGS[mode]]


def build_program(mode: str, name: str, *sources: Path) -> Path:
    """An executable of sources in C++ or CUDA that include emulator/cuda.h."""
    emulator = _emulator(mode)
    graph = Graph(BUILD / mode / "programs" / name)
    flags = _kernel_flags(mode, CSRC)
    made = [graph.compile(source.resolve(), flags) for source in sources]
    # The emulator comes first: of functions that both have, such as those of std::vector, the
    # linker takes the first, and the emulator's must have no sanitizer.
    program = graph.link(name, [*emulator, *made], [*LINK_FLAGS[mode], "-ldl"])
    graph.make()
    return program


def _glue() -> list[Path]:
    from torch.utils.cpp_extension import include_paths

    graph = Graph(BUILD / "glue")
    flags = [*COMMON, "-O1", "-g0", "-fopenmp", "-fno-gnu-unique"]
    flags += [f"-DTORCH_EXTENSION_NAME={MODULE}", f"-I{CSRC}"]
    flags += [f"-isystem{path}" for path in [*include_paths(), sysconfig.get_path("include")]]
    sources = [path for pattern in GLUE for path in sorted(CSRC.glob(pattern))]
    sources += [TESTS / "emulator" / name for name in ("module.cpp", "step_duals.cpp")]
    objects = [graph.compile(source, flags) for source in sources]
    graph.make()
    return objects


def build_module(mode: str, csrc: Path = CSRC, folder: Path | None = None) -> Path:
    """The extension module; with `csrc`, files of another folder for those of the same name.

    Compiled again, to `folder`, is then what includes one of them; but for the glue, which does not
    see what a kernel or a plan does. ninja goes by times: a file put back must be a new one.
    """
    from torch.utils.cpp_extension import library_paths

    emulator, glue = _emulator(mode), _glue()
    if csrc != CSRC:
        build_module(mode)
    ours = Graph(BUILD / mode / "module")
    graph = Graph((folder or ours.folder).resolve())
    roots = [csrc.resolve(), CSRC]
    objects = []
    for pattern, flags in (
        ("cuda/*.cu", _kernel_flags(mode, roots[0])),
        ("cuda/*.cpp", [*COMMON, "-O1", "-g1", f"-I{roots[0]}", f"-I{CSRC}", *HOST_FLAGS[mode]]),
    ):
        for name in sorted(str(path.relative_to(CSRC)) for path in CSRC.glob(pattern)):
            source = _find(name, roots)
            assert source is not None
            files = _included(source, roots)
            changed = csrc == CSRC or any(file.is_relative_to(roots[0]) for file in files)
            objects.append((graph if changed else ours).compile(source, flags))
    flags = [*LINK_FLAGS[mode], "-shared", "-ldl", *(f"-L{path}" for path in library_paths())]
    flags += ["-lc10", "-ltorch", "-ltorch_cpu", "-ltorch_python"]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    module = graph.link(f"{MODULE}{suffix}", [*emulator, *glue, *objects], flags)
    graph.make()
    return module


def _find(name: str, roots: Sequence[Path]) -> Path | None:
    return next((root / name for root in roots if (root / name).exists()), None)


def _included(source: Path, roots: Sequence[Path]) -> set[Path]:
    """A source and what it includes of the folders, of which the first that has a file gives it."""
    found, new = {source}, [source]
    while new:
        names = re.findall(r'^#include "(.+)"', new.pop().read_text(), re.MULTILINE)
        new += {path for name in names if (path := _find(name, roots))} - found
        found.update(new)
    return found


def load(path: Path) -> ModuleType:
    """Imports a module of build_module, whose modes may stand beside each other in a process."""
    import torch  # noqa: F401  (its libraries must be there)

    loader = importlib.machinery.ExtensionFileLoader(MODULE, str(path))
    spec = importlib.util.spec_from_loader(MODULE, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _library(name: str) -> str:
    command = [COMPILER, f"-print-file-name={name}"]
    return os.path.realpath(subprocess.check_output(command, text=True).strip())


def environment(mode: str) -> dict[str, str]:
    """For a Python process that tests the module: the sanitizers' runtimes must come first."""
    env = {**os.environ, "FUSED_RNN_EMULATED": mode}
    if mode == "asan":
        runtimes = ["libasan.so", "libubsan.so", "libstdc++.so.6"]
        env["LD_PRELOAD"] = ":".join(_library(name) for name in runtimes)
        env["ASAN_OPTIONS"] = "detect_leaks=0"  # Python frees little at exit
        env["UBSAN_OPTIONS"] = "print_stacktrace=1"
    return env


if __name__ == "__main__":
    _mode, *_program = sys.argv[1:]
    if _program:
        print(build_program(_mode, _program[0], *map(Path, _program[1:])))
    else:
        print(build_module(_mode))

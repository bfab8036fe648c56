"""Compiles fused_rnn._C against the torch that will load it; the rest is in pyproject.toml.

Environment: MAX_JOBS (parallel compilers), FUSED_RNN_CUDA (0 or 1; this release has only 0),
FUSED_RNN_SANITIZE (such as address,undefined).
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from setuptools import setup
from torch.utils.cpp_extension import (
    BuildExtension,
    CppExtension,
    get_cxx_compiler,
    include_paths,
)

from build_backend import MINIMUM_TORCH

RUN_TIME_DEPENDENCIES = ["numpy", "matplotlib", "tqdm"]


def torch_minor() -> tuple[int, int]:
    """Major and minor version of the torch that is compiled against."""
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def check_environment() -> None:
    """Stops the build, in one sentence, where it cannot give what was asked for."""
    if torch_minor() < MINIMUM_TORCH:
        needed = ".".join(map(str, MINIMUM_TORCH))
        sys.exit(f"fused_rnn needs torch {needed} or later, but found torch {torch.__version__}.")
    cuda = os.environ.get("FUSED_RNN_CUDA", "0")
    if cuda not in ("0", "1"):
        sys.exit(f"FUSED_RNN_CUDA must be 0 or 1, but is {cuda!r}.")
    if cuda == "1":
        sys.exit(
            "FUSED_RNN_CUDA=1 asks for CUDA kernels, but this release of fused_rnn has none: "
            "unset it, or set it to 0, to build for the CPU."
        )


def uses_gcc() -> bool:
    """Whether the C++ compiler is gcc: only its OpenMP calls are those of torch's libgomp."""
    command = [*shlex.split(get_cxx_compiler()), "--version"]
    return sys.platform == "linux" and "clang" not in subprocess.check_output(command, text=True)


def compile_flags() -> list[str]:
    """Flags for every source; instruction sets are chosen inside the sources, one file for each."""
    flags = [
        "-std=c++20",
        "-O3",
        "-g0",
        "-fvisibility=hidden",
        "-ffp-contract=fast",
        "-Wall",
        "-Wextra",
    ]
    flags += ["-fno-wrapv"]  # undoes Python's own flag, which hides overflow and slows loops
    flags += [f"-isystem{folder}" for folder in include_paths()]  # no warnings from torch's headers
    if uses_gcc():
        # Compiled with OpenMP but not linked to it: its symbols resolve to the one runtime that
        # torch has loaded. Unique symbols would merge the functions of two builds in one process.
        flags += ["-fopenmp", "-fno-gnu-unique"]
    return flags


def sanitizer_flags() -> list[str]:
    """Flags, for compiler and linker, of FUSED_RNN_SANITIZE; scripts/sanitize.sh uses them."""
    sanitizers = os.environ.get("FUSED_RNN_SANITIZE", "")
    if not sanitizers:
        return []
    # vptr checks need the type information of classes that torch keeps to itself.
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize=vptr", "-fno-sanitize-recover=all"]
    return [*flags, "-O1", "-g1", "-fno-omit-frame-pointer"]


class BuildFor(BuildExtension):
    """Builds the extension and writes down, beside it, the torch it belongs to.

    An extension compiled for another torch may fail to load with an undefined symbol, before any
    of its own code runs; a Python file can be read first and allows a clear message.
    """

    def run(self) -> None:
        super().run()
        folder = Path(self.get_ext_fullpath("fused_rnn._C")).parent
        text = f'"""Written by setup.py."""\n\nTORCH_VERSION = "{torch.__version__}"\n'
        folder.joinpath("_built_for.py").write_text(text, encoding="utf-8")


check_environment()
major, minor = torch_minor()
setup(
    ext_modules=[
        CppExtension(
            name="fused_rnn._C",
            sources=sorted(str(path) for path in Path("csrc").glob("**/*.cpp")),
            include_dirs=[str(Path("csrc").resolve())],
            extra_compile_args=compile_flags() + sanitizer_flags(),
            extra_link_args=sanitizer_flags(),
        )
    ],
    cmdclass={"build_ext": BuildFor},
    install_requires=[f"torch=={major}.{minor}.*", *RUN_TIME_DEPENDENCIES],
)

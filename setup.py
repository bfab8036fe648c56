"""Compiles fused_rnn._C against the torch that will load it; the rest is in pyproject.toml.

Environment: MAX_JOBS (parallel compilers), FUSED_RNN_CUDA, TORCH_CUDA_ARCH_LIST, CUDA_HOME and
CUDA_PATH (cuda_toolkit.py says what they do), FUSED_RNN_SANITIZE (such as address,undefined).
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from setuptools import Extension, find_packages, setup
from torch.utils import cpp_extension
from torch.utils.cpp_extension import BuildExtension, CppExtension

from build_backend import MINIMUM_TORCH
from cuda_toolkit import Choice, Toolkit, choose, find_toolkit, visible_gpus

RUN_TIME_DEPENDENCIES = ["numpy", "matplotlib", "tqdm"]
EXAMPLES = ["fused_rnn.examples", "fused_rnn.examples.common"]  # examples/, installed for `course`


def torch_minor() -> tuple[int, int]:
    """Major and minor version of the torch that is compiled against."""
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def check_torch() -> None:
    """Stops the build, in one sentence, where torch is too old."""
    if torch_minor() < MINIMUM_TORCH:
        needed = ".".join(map(str, MINIMUM_TORCH))
        sys.exit(f"fused_rnn needs torch {needed} or later, but found torch {torch.__version__}.")


def cuda_choice() -> Choice:
    """Whether CUDA kernels are built; where they are, torch's build functions are told how."""

    def find() -> Toolkit:
        return find_toolkit(os.environ, torch.version.cuda or "", Path(torch.__file__).parents[1])

    choice = choose(os.environ, torch.version.cuda, lambda: visible_gpus(torch.cuda), find)
    if choice.toolkit:
        # torch guesses the folder, when it is imported, from where the first nvcc on PATH lies.
        cpp_extension.CUDA_HOME = str(choice.toolkit.home)
        os.environ["TORCH_CUDA_ARCH_LIST"] = choice.architectures
    return choice


def uses_gcc() -> bool:
    """Whether the C++ compiler is gcc: only its OpenMP calls are those of torch's libgomp."""
    command = [*shlex.split(cpp_extension.get_cxx_compiler()), "--version"]
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
    flags += [
        f"-isystem{folder}" for folder in cpp_extension.include_paths()
    ]  # no warnings from torch's headers
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
    # Not among the checks: vptr, which needs the type information of classes that torch keeps to
    # itself, and four of every access, which take the compiler of the generic kernels 134 s and not
    # 80. What is lost by these is an address that is misaligned, or out of bounds and not used;
    # AddressSanitizer sees the others.
    left_out = "vptr,null,alignment,object-size,pointer-overflow"
    flags = [f"-fsanitize={sanitizers}", f"-fno-sanitize={left_out}", "-fno-sanitize-recover=all"]
    if uses_gcc():  # AddressSanitizer's checks as calls, not inline: 114 s, not 134
        flags.append("--param=asan-instrumentation-with-call-threshold=0")
    return [*flags, "-O1", "-g1", "-fno-omit-frame-pointer"]


def nvcc_flags() -> list[str]:
    """Flags for the kernels, which get their architectures from torch."""
    host = ["-fvisibility=hidden", "-Wall", "-Wextra"]
    host += ["-fno-gnu-unique"] if uses_gcc() else []
    return ["-std=c++20", "-O3", "-lineinfo", f"-Xcompiler={','.join(host)}"]


def extension(choice: Choice) -> Extension:
    """fused_rnn._C: all of csrc, with the kernels for GPUs and what calls them where so chosen."""
    sources = set(Path("csrc").glob("**/*.cpp"))
    include_dirs = [str(Path("csrc").resolve())]
    libraries: list[str] = []
    link_flags = sanitizer_flags()
    if choice.toolkit:
        sources |= set(Path("csrc/cuda").glob("*.cu"))
        include_dirs.append(str(choice.toolkit.include))
        libraries += ["c10_cuda", "torch_cuda"]
        link_flags.append(str(choice.toolkit.cudart))
    else:
        sources -= set(Path("csrc/torch").glob("cuda_*.cpp"))
    module: Extension = CppExtension(
        name="fused_rnn._C",
        sources=sorted(map(str, sources)),
        include_dirs=include_dirs,
        define_macros=[("FUSED_RNN_CUDA", "1")] if choice.toolkit else [],
        libraries=libraries,
        extra_compile_args={"cxx": compile_flags() + sanitizer_flags(), "nvcc": nvcc_flags()},
        extra_link_args=link_flags,
    )
    return module


def cuda_header(choice: Choice) -> str:
    """cuda_choice.h, which tells csrc/python.cpp what was chosen."""
    values = {
        "kReason": choice.reason,
        "kArchitectures": choice.architectures,
        "kToolkit": choice.toolkit.version if choice.toolkit else "",
    }
    lines = [f"constexpr char {name}[] = {json.dumps(text)};" for name, text in values.items()]
    opening = "// Written by setup.py.\n#pragma once\nnamespace fused_rnn::cuda_choice {"
    return "\n".join([opening, *lines, "}", ""])


class BuildFor(BuildExtension):
    """Builds the extension, with what was chosen as a header and the torch it is for beside it.

    An extension compiled for another torch may fail to load with an undefined symbol, before any
    of its own code runs; a Python file can be read first and allows a clear message.
    """

    def run(self) -> None:
        built = f"{choice.architectures} by {choice.toolkit.home}" if choice.toolkit else "none"
        print(f"CUDA kernels: {built}, because {choice.reason}")
        generated = Path(self.build_temp).resolve()
        self.extensions[0].include_dirs.append(str(generated))
        write(generated / "cuda_choice.h", cuda_header(choice))
        super().run()
        text = f'"""Written by setup.py."""\n\nTORCH_VERSION = "{torch.__version__}"\n'
        write(Path(self.get_ext_fullpath("fused_rnn._C")).parent / "_built_for.py", text)


def write(path: Path, text: str) -> None:
    """Writes the file, unless it says so already: a newer file is compiled again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


check_torch()
choice = cuda_choice()
major, minor = torch_minor()
setup(
    packages=[*find_packages(include=["fused_rnn*"]), *EXAMPLES],
    package_dir={"fused_rnn.examples": "examples"},
    ext_modules=[extension(choice)],
    cmdclass={"build_ext": BuildFor},
    install_requires=[f"torch=={major}.{minor}.*", *RUN_TIME_DEPENDENCIES],
)

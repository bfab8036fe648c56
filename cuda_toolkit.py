"""Decides whether the CUDA kernels are built, for which GPUs, and with which toolkit.

setup.py asks `choose` and hands in what torch says; nothing here imports torch. A toolkit is a
folder with bin/nvcc, cuda_runtime.h and libcudart; no other library of CUDA is needed. Whoever asks
for kernels (FUSED_RNN_CUDA=1) gets them or one sentence; otherwise the machine decides.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Compute capabilities, as TORCH_CUDA_ARCH_LIST writes them, of a build for GPUs that are not here.
ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
USUAL_FOLDER = Path("/usr/local/cuda")


class ToolkitError(Exception):
    """Why no kernels can be built, as a clause."""


@dataclass(frozen=True)
class Toolkit:
    home: Path  # nvcc is home/bin/nvcc
    version: str  # nvcc's, such as 13.0
    include: Path  # the folder of cuda_runtime.h
    cudart: Path  # libcudart to link with; it may be the one that torch brings
    architectures: tuple[str, ...]  # what nvcc compiles for, such as 9.0, the oldest first


@dataclass(frozen=True)
class Choice:
    reason: str  # a clause that follows "because"
    toolkit: Toolkit | None = None  # None: no CUDA kernels
    architectures: str = ""  # in the form of TORCH_CUDA_ARCH_LIST


def choose(
    environment: Mapping[str, str],
    torch_cuda: str | None,
    visible_gpus: Callable[[], Sequence[str]],
    find: Callable[[], Toolkit],
) -> Choice:
    """What FUSED_RNN_CUDA asks for, or a SystemExit with a sentence where it cannot be had.

    `torch_cuda` is torch.version.cuda; `visible_gpus` gives the compute capabilities of the GPUs of
    this machine, and `find` a toolkit or a ToolkitError. Both are called only where they matter.
    """
    wanted = environment.get("FUSED_RNN_CUDA", "")
    if wanted not in ("", "0", "1"):
        raise SystemExit(f"FUSED_RNN_CUDA must be 0 or 1, but is {wanted!r}.")
    if wanted == "0":
        return Choice("FUSED_RNN_CUDA=0 was set")
    try:
        if torch_cuda is None:
            raise ToolkitError("the installed torch is built without CUDA")
        gpus = [] if wanted else visible_gpus()
        if not wanted and not gpus:
            return Choice("no GPU was visible")
        toolkit = find()
        reason = "FUSED_RNN_CUDA=1 was set" if wanted else "a GPU was visible"
        if listed := environment.get("TORCH_CUDA_ARCH_LIST"):
            return Choice(f"{reason} (and TORCH_CUDA_ARCH_LIST)", toolkit, listed)
        return Choice(reason, toolkit, architectures(toolkit, gpus))
    except ToolkitError as problem:
        if wanted:
            sentence = f"FUSED_RNN_CUDA=1 asks for CUDA kernels, but {problem}."
            raise SystemExit(sentence) from problem
        return Choice(str(problem))


def visible_gpus(cuda: Any) -> list[str]:
    """Compute capabilities of the GPUs that `cuda`, torch.cuda, sees; none if no driver works."""
    try:
        count = cuda.device_count() if cuda.is_available() else 0
        found = {cuda.get_device_capability(index) for index in range(count)}
    except RuntimeError:
        return []
    return [f"{major}.{minor}" for major, minor in sorted(found)]


def architectures(toolkit: Toolkit, gpus: Sequence[str]) -> str:
    """Those of the GPUs; without any, all, and PTX that newer GPUs can translate."""
    if not gpus:
        return ";".join(name for name in ARCHITECTURES if name in toolkit.architectures) + "+PTX"
    usable = [gpu for gpu in gpus if _number(gpu) >= _number(ARCHITECTURES[0])]
    if not usable:
        raise ToolkitError(
            f"the kernels need a GPU of compute capability {ARCHITECTURES[0]} or later, and this "
            f"machine has {' and '.join(gpus)}"
        )
    names = [_target(toolkit, gpu) for gpu in sorted(usable, key=_number)]
    return ";".join(dict.fromkeys(names))


def _target(toolkit: Toolkit, gpu: str) -> str:
    """What to compile for a GPU: itself, or the nearest older one with PTX."""
    older = [name for name in toolkit.architectures if _number(name) <= _number(gpu)]
    if not older:
        raise ToolkitError(f"CUDA {toolkit.version} compiles for no GPU as old as {gpu}")
    return gpu if older[-1] == gpu else f"{older[-1]}+PTX"


def find_toolkit(
    environment: Mapping[str, str],
    torch_cuda: str,
    site_packages: Path,
    usual_folder: Path = USUAL_FOLDER,
) -> Toolkit:
    """The toolkit of this environment for a torch in `site_packages`, or a ToolkitError."""
    home, name = _home(environment, usual_folder)
    nvcc = home / "bin" / "nvcc"
    if not os.access(nvcc, os.X_OK):
        raise ToolkitError(f"{name} has no bin/nvcc")
    release = re.search(r"release (\d+\.\d+)", _output(nvcc, "--version"))
    found = re.findall(r"compute_(\d+)(\d)\b", _output(nvcc, "--list-gpu-arch"))
    if release is None or not found:
        raise ToolkitError(f"{nvcc} does not say its release and the GPUs it compiles for")
    version, major = release[1], torch_cuda.split(".")[0]
    if version.split(".")[0] != major:
        raise ToolkitError(
            f"{name} is CUDA {version} and torch is built for CUDA {torch_cuda}: "
            "their major versions must be equal"
        )
    include = _first(home, ["include", "targets/*/include"], ["cuda_runtime.h"])
    if include is None:
        raise ToolkitError(f"{name} has no include/cuda_runtime.h")
    # torch's package has no link named libcudart.so, only the file that is loaded at run time.
    libraries = ["lib64", "lib", "targets/*/lib", "lib/*-linux-gnu"]
    cudart = _first(home, libraries, ["libcudart.so", f"libcudart.so.{major}"]) or _first(
        site_packages / "nvidia", [f"cu{major}/lib", "cuda_runtime/lib"], [f"libcudart.so.{major}"]
    )
    if cudart is None:
        raise ToolkitError(f"neither {name} nor torch's own packages have libcudart.so.{major}")
    known = sorted({f"{first}.{second}" for first, second in found}, key=_number)
    return Toolkit(home, version, include.parent, cudart, tuple(known))


def _home(environment: Mapping[str, str], usual_folder: Path) -> tuple[Path, str]:
    """The toolkit's folder, and what a message calls it."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if folder := environment.get(variable):
            return Path(folder).absolute(), f"{variable}={folder}"
    if nvcc := shutil.which("nvcc", path=environment.get("PATH")):
        # nvcc may be a script that calls one elsewhere: the real one says where it lies.
        top = re.search(r"^#\$ TOP=(.+)$", _output(Path(nvcc), "--dryrun", os.devnull), re.M)
        home = Path(top[1].strip() if top else Path(nvcc).resolve().parents[1]).resolve()
        return home, f"{home}, the toolkit of {nvcc},"
    if usual_folder.exists():
        return usual_folder.resolve(), str(usual_folder)
    raise ToolkitError(
        f"there is no nvcc on PATH and no {usual_folder}; CUDA_HOME may name the toolkit's folder"
    )


def _output(nvcc: Path, *arguments: str) -> str:
    """What nvcc prints; nothing where it cannot run."""
    try:
        process = subprocess.run([nvcc, *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return process.stdout + process.stderr


def _first(home: Path, folders: Sequence[str], names: Sequence[str]) -> Path | None:
    """The first of the files in the first of the folders of `home` that has one."""
    found = (path for folder in folders for name in names for path in home.glob(f"{folder}/{name}"))
    return next(found, None)


def _number(architecture: str) -> tuple[int, int]:
    """Orders compute capabilities: 10.0 is above 9.0."""
    major, minor = architecture.split(".")
    return int(major), int(minor)

"""The report that `python -m fused_rnn` prints: what there is, what was built, what is in use."""

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from . import _C


def report() -> str:
    """Versions, build, instruction set and threads, with how to change the last two."""
    build = _C.build_info()
    architectures = ", ".join(build["cuda_architectures"].replace(" ", ";").split(";"))
    built = f"built for {architectures} by nvcc {build['cuda_toolkit']}"
    cuda_choice = "FUSED_RNN_CUDA=1 (for every GPU) or 0 (for none) before pip install changes it"
    if torch.version.cuda is None:
        cuda_choice = "install a torch with CUDA, then fused_rnn again, to have them"
    isa_choice = "ATEN_CPU_CAPABILITY=default, avx2 or avx512 in the environment lowers it"
    thread_choice = "torch.set_num_threads(n), or OMP_NUM_THREADS=n in the environment"
    lines = {
        "fused_rnn": f"{_version('fused_rnn')}, {_places()}",
        "torch": f"{torch.__version__}, compiled for {build['torch']}",
        "numpy": _version("numpy"),
        "Python": f"{platform.python_version()}, {platform.platform()}",
        "CPU": f"{cpu_model()}, {_cores()} cores for this process",
        "CPU kernels": f"{', '.join(build['isas'])}, by {build['compiler']}, "
        f"{'with' if build['openmp'] else 'without'} OpenMP",
        "CUDA kernels": f"{built if build['cuda'] else 'not built'}, "
        f"because {build['cuda_reason']}; {cuda_choice}",
        "GPU": _gpus(),
        "ISA in use": f"{_C.cpu_isa()}, of {', '.join(_C.available_cpu_isas())}; {isa_choice}",
        "threads": f"{torch.get_num_threads()}; {thread_choice}",
    }
    return "\n".join(f"{name:<14}{text}" for name, text in lines.items())


def _places() -> str:
    """The folder of the package, and that of the library where it is another."""
    package, library = Path(__file__).resolve().parent, Path(_C.__file__).resolve().parent
    return str(package) if package == library else f"{package}, compiled library in {library}"


def _version(package: str) -> str:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def cpu_model() -> str:
    """The processor's name, from the kernel where it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _gpus() -> str:
    """The GPUs that torch sees, with their compute capabilities."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = [torch.cuda.get_device_properties(index) for index in range(count)]
    return ", ".join(f"{gpu.name} ({gpu.major}.{gpu.minor})" for gpu in found) or "none visible"


def _cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

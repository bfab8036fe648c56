from typing import Any, TypedDict

from torch import Tensor

class BuildInfo(TypedDict):
    torch: str
    compiler: str
    isas: list[str]
    openmp: bool
    cuda: bool
    cuda_reason: str  # why the CUDA kernels were built, or were not
    cuda_architectures: str  # as in TORCH_CUDA_ARCH_LIST: 9.0;12.0+PTX
    cuda_toolkit: str  # version of the toolkit that compiled them: 13.0

class CellInfo(TypedDict):
    gates: int  # pre-activations of a hidden unit
    has_c: bool  # whether the state has a second tensor c
    projects: bool  # whether a projection weight_hr may follow

def build_info() -> BuildInfo: ...
def cells() -> dict[str, CellInfo]: ...
def cpu_isa() -> str: ...
def set_cpu_isa(name: str) -> None: ...
def available_cpu_isas() -> list[str]: ...
def peak_gflops() -> float: ...

# None where only torch.ops will do.
def layer(*arguments: Any) -> tuple[Tensor, Tensor, Any] | None: ...
def step(*arguments: Any) -> tuple[Tensor, Any] | None: ...
def stack(*arguments: Any) -> tuple[Tensor, Tensor, Any] | None: ...

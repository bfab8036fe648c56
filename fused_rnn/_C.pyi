from typing import TypedDict

class BuildInfo(TypedDict):
    torch: str
    compiler: str
    isas: list[str]
    openmp: bool
    cuda: bool
    cuda_reason: str

class CellInfo(TypedDict):
    gates: int  # pre-activations of a hidden unit
    has_c: bool  # whether the state has a second tensor c
    projects: bool  # whether a projection weight_hr may follow

def build_info() -> BuildInfo: ...
def cells() -> dict[str, CellInfo]: ...
def cpu_isa() -> str: ...
def set_cpu_isa(name: str) -> None: ...
def available_cpu_isas() -> list[str]: ...

from typing import TypedDict

class BuildInfo(TypedDict):
    torch: str
    compiler: str
    isas: list[str]
    openmp: bool
    cuda: bool
    cuda_reason: str

def build_info() -> BuildInfo: ...
def cpu_isa() -> str: ...
def set_cpu_isa(name: str) -> None: ...
def available_cpu_isas() -> list[str]: ...

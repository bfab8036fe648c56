"""The compiled module: what it says of itself, how it is linked, which instructions it holds."""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

import fused_rnn  # noqa: F401  # loads fused_rnn._C
from fused_rnn import _C, _built_for, environment

ROOT = Path(__file__).parents[1]


def run_python(code: str, folder: Path, **environment: str) -> str:
    """What `code` prints in a fresh interpreter started in `folder`."""
    command = [sys.executable, "-c", code]
    variables = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=folder, env=variables, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def run_binutils(tool: str, *arguments: str) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} (binutils) is not installed")
    command = [tool, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def object_files(folder: str) -> list[Path]:
    """Object files of csrc/`folder`, which `pip install .` leaves in the build folder."""
    version = sysconfig.get_config_var("py_version_nodot")
    found = sorted(ROOT.glob(f"build/temp.*-cpython-{version}/csrc/{folder}/*.o"))
    if not found:
        pytest.skip("no object files: the package was not built in this checkout")
    return found


def isa_objects() -> list[Path]:
    """Object files that are compiled for more than the baseline instruction set."""
    found = [path for path in object_files("cpu") if path.name.startswith("isa_")]
    return [path for path in found if path.stem != "isa_generic"]


def innermost_loops(code: str) -> list[str]:
    """The instructions between a jump backward and its target that hold no other such jump."""
    lines = re.findall(r"^ *([0-9a-f]+):\t(.*)$", code, re.M)
    line_at = {address: i for i, (address, _) in enumerate(lines)}
    loops, last_end = [], -1
    for end, (_, instruction) in enumerate(lines):
        jump = re.match(r"j\w+ +([0-9a-f]+)", instruction)
        first = line_at.get(jump[1], end + 1) if jump else end + 1
        if first > end:
            continue
        if last_end < first:
            loops.append("\n".join(text for _, text in lines[first : end + 1]))
        last_end = end
    return loops


x86_linux = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="reads x86-64 ELF objects"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files and /proc")


def test_built_for_this_torch() -> None:
    minor = torch.__version__.split(".")[:2]
    assert _C.build_info()["torch"].split(".")[:2] == minor
    assert _built_for.TORCH_VERSION.split(".")[:2] == minor


def test_build_info_is_complete() -> None:
    info = _C.build_info()
    cuda = {"cuda", "cuda_reason", "cuda_architectures", "cuda_toolkit"}
    assert set(info) == {"torch", "compiler", "isas", "openmp"} | cuda
    assert re.fullmatch(r"(gcc|clang) \d+\.\d+\.\d+", info["compiler"])
    assert info["isas"][0] == "generic"
    assert isinstance(info["openmp"], bool)
    assert info["cuda_reason"]
    if info["cuda"]:
        assert re.match(r"\d+\.\d", info["cuda_architectures"])
        assert info["cuda_toolkit"].split(".")[0] == torch.version.cuda.split(".")[0]
    else:
        assert info["cuda_architectures"] == info["cuda_toolkit"] == ""


CUDA_BUILD = {
    "cuda": True,
    "cuda_reason": "a GPU was visible",
    "cuda_architectures": "8.0;9.0 12.0+PTX",
    "cuda_toolkit": "13.0",
}
CPU_BUILD = dict(CUDA_BUILD, cuda=False, cuda_reason="no GPU was visible", cuda_architectures="")


BY_ENVIRONMENT = "FUSED_RNN_CUDA=1 (for every GPU) or 0 (for none) before pip install changes it"
BY_TORCH = "install a torch with CUDA, then fused_rnn again, to have them"


@pytest.mark.parametrize(
    ("build", "torch_cuda", "said"),
    [
        (
            CUDA_BUILD,
            "13.0",
            "built for 8.0, 9.0, 12.0+PTX by nvcc 13.0, because a GPU was visible; "
            + BY_ENVIRONMENT,
        ),
        (CPU_BUILD, "13.0", "not built, because no GPU was visible; " + BY_ENVIRONMENT),
        (CPU_BUILD, None, "not built, because no GPU was visible; " + BY_TORCH),
    ],
    ids=["built", "not-built", "torch-without-cuda"],
)
def test_report_says_what_was_built_and_why_and_how_to_change_it(
    build: dict[str, object], torch_cuda: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = {**_C.build_info(), **build}
    monkeypatch.setattr(_C, "build_info", lambda: info)
    monkeypatch.setattr(torch.version, "cuda", torch_cuda)
    assert re.findall(r"^CUDA kernels  (.*)$", environment.report(), re.M) == [said]


def test_report_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert re.search(r"^GPU           none visible$", environment.report(), re.M)


def test_import_does_not_initialise_cuda(tmp_path: Path) -> None:
    code = "import torch, fused_rnn; print(torch.cuda.is_initialized())"
    assert run_python(code, tmp_path) == "False\n"


def test_setup_stops_in_one_sentence(tmp_path: Path) -> None:
    """Whatever the torch: it is built without CUDA, or the folder holds no toolkit."""
    pytest.importorskip("setuptools")
    variables = {**os.environ, "FUSED_RNN_CUDA": "1", "CUDA_HOME": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
    )
    problem = f"CUDA_HOME={tmp_path} has no bin/nvcc"
    if torch.version.cuda is None:
        problem = "the installed torch is built without CUDA"
    last = process.stderr.splitlines()[-1]
    assert last == f"FUSED_RNN_CUDA=1 asks for CUDA kernels, but {problem}."
    assert process.returncode == 1
    assert "Traceback" not in process.stderr


def test_isa_in_use_is_one_of_the_available() -> None:
    available = _C.available_cpu_isas()
    assert _C.cpu_isa() in available
    assert set(available) <= set(_C.build_info()["isas"])


def test_set_cpu_isa() -> None:
    for isa in _C.available_cpu_isas():
        _C.set_cpu_isa(isa)
        assert _C.cpu_isa() == isa


def test_peak_is_one_of_a_core() -> None:
    lanes = {"generic": 4, "avx2": 8}
    for isa in _C.available_cpu_isas():
        _C.set_cpu_isa(isa)
        assert 1 < _C.peak_gflops() < 2 * lanes.get(isa, 16) * 2 * 6  # two units, 6 GHz
        assert 0 < 2 * _C.multiply_adds(1) == _C.multiply_adds(2)


def test_set_cpu_isa_names_what_it_expected() -> None:
    with pytest.raises(ValueError, match="expected one of generic.* but got 'mmx'"):
        _C.set_cpu_isa("mmx")


@linux
def test_one_openmp_runtime(tmp_path: Path) -> None:
    code = """if True:
        import torch, fused_rnn
        torch.set_num_threads(2)
        layer = fused_rnn.LSTM(64, 64)
        layer(torch.randn(20, 32, 64))[0].sum().backward()
        print(open("/proc/self/maps").read())"""
    maps = run_python(code, tmp_path)
    runtimes = set(re.findall(r"/\S*/lib(?:gomp|iomp|omp)[-.\d]\S*", maps))
    assert len(runtimes) == 1, runtimes


@linux
def test_links_no_openmp_of_its_own() -> None:
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run_binutils("readelf", "-d", _C.__file__))
    assert any(name.startswith("libtorch") for name in needed)
    assert not [name for name in needed if re.match(r"lib(gomp|iomp|omp)", name)]
    # The driver's own library must not be needed: the import would fail where there is no GPU.
    cuda = {name.split(".")[0] for name in needed if re.match(r"lib(cu|nv)", name)}
    assert cuda == ({"libcudart"} if _C.build_info()["cuda"] else set())


@x86_linux
def test_isa_objects_share_no_symbol() -> None:
    """Weak definitions name their ISA: of equal ones the linker may keep the widest for all."""
    for path in isa_objects():
        names = re.findall(r"^\S+ [VWu] (.*)$", run_binutils("nm", "-C", str(path)), re.M)
        own = f"fused_rnn::cpu::{path.stem.removeprefix('isa_')}::"
        # The personality pointer of exception handling is the same in every object.
        shared = [name for name in names if own not in name and not name.startswith("DW.ref.")]
        assert not shared, f"{path.name} shares {shared[:5]}"


@x86_linux
def test_isa_objects_are_vectorised() -> None:
    """Wide fused multiply-adds in both precisions, or of bfloat16, and no call of the scalar maths
    library."""
    both = (r"vfmadd\d+ps", r"vfmadd\d+pd")
    wide = {
        "isa_avx2": ("ymm", both),
        "isa_avx512": ("zmm", both),
        "isa_avx512_bf16": ("zmm", ("vdpbf16ps",)),
        "isa_amx": ("[tz]mm", ("tdpbf16ps", r"vfmadd\d+ps")),  # the cell's
    }
    for path in isa_objects():
        register, instructions = wide[path.stem]
        code = run_binutils("objdump", "-d", "--no-show-raw-insn", str(path))
        for instruction in instructions:
            assert re.search(rf"{instruction} .*%{register}", code), (path.name, instruction)
        undefined = run_binutils("nm", "-u", str(path))
        assert not re.findall(r"\b(?:exp|tanh)f?\b", undefined), path.name


@x86_linux
@pytest.mark.skipif(
    not _C.build_info()["compiler"].startswith("gcc 12"), reason="reads loops of gcc 12"
)
def test_largest_tiles_spill_nothing() -> None:
    """In their innermost loops; the one that asks for rows as well holds another loop."""
    for path in isa_objects():
        if path.stem == "isa_amx":
            continue  # the tile is not the compiler's
        code = run_binutils("objdump", "-dC", "--no-show-raw-insn", str(path))
        sizes = {"6, 4", "8, 3"} if "avx512" in path.name else {"3, 4", "4, 3", "6, 2"}
        instruction, types = ("vdpbf16ps", "u") if "bf16" in path.name else ("vfmadd", "[fd]")
        for size in sizes:
            name = rf"::tile<{size}, (?:true|false), \d+, {types}.*>:\n"
            bodies = re.findall(rf"{name}((?:.+\n)+)", code)
            loops = [
                loop for body in bodies for loop in innermost_loops(body) if instruction in loop
            ]
            at_once = 4 * (12 if "avx2" in path.name else 24)  # four k a turn
            assert any(loop.count(instruction) == at_once for loop in loops), (path.name, size)
            if (path.stem, size) == ("isa_avx512", "6, 4"):  # over packed panels, and as they lie
                for body in re.findall(
                    r"::tile<6, 4, (?:true|false), 1, [fd].*>:\n((?:.+\n)+)", code
                ):
                    counts = [loop.count(instruction) for loop in innermost_loops(body)]
                    assert counts.count(at_once) >= 2, counts
            for loop in loops:  # these functions realign their stack: %rbp is its frame
                assert not re.search(r"\(%rsp|\(%rbp|vmovq|vmovd\b", loop), (path.name, size, loop)
                assert not re.search(rf"{instruction}.*\(", loop), (path.name, size, loop)


@x86_linux
def test_only_isa_objects_need_more_than_the_baseline() -> None:
    for path in [*object_files("cpu"), *object_files("torch")]:
        if path not in isa_objects():
            code = run_binutils("objdump", "-d", "--no-show-raw-insn", str(path))
            assert not re.search(r"%[yz]mm", code), path.name

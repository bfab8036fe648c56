"""The CUDA kernels as nvcc compiles them: no spills, no local memory, and vector instructions where
they belong. scripts/cuda_static.py prints the same; without nvcc only its own reading is tested.
"""

import shutil
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.append(str(SCRIPTS))

import cuda_kernels as ck  # noqa: E402
import cuda_static as cs  # noqa: E402

NVCC = ck.find_nvcc()
needs_nvcc = pytest.mark.skipif(
    NVCC is None or shutil.which("c++filt") is None,
    reason="no nvcc (or no c++filt) on this machine",
)
SOURCES = sorted(ck.CSRC.glob("cuda/*.cu"))

# Of nvcc 13.0, of a kernel whose registers did not suffice.
LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1fv' for 'sm_90'
ptxas info    : Function properties for _Z1fv
    8 bytes stack frame, 16 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 8 bytes stack, 512 bytes smem
ptxas info    : Compile time = 51.462 ms
ptxas info    : Compiling entry function '_Z1gv' for 'sm_90a'
ptxas info    : Function properties for _Z1gv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 30 registers, used 0 barriers, 472 bytes cmem[0]
"""
PTX = """\
.visible .entry _Z1fv(
\t.param .u64 _Z1fv_param_0
)
{
\t.reg .pred \t%p<3>;
\t.shared .align 16 .b8 a[64];
$L__BB0_1:
\tld.param.u64 \t%rd1, [_Z1fv_param_0];
\t@%p1 bra \t$L__BB0_1;
\t@!%p2 ld.global.v4.f32 \t{%f1, %f2, %f3, %f4}, [%rd1];
\tld.global.v4.f32 \t{%f1, %f2, %f3, %f4}, [%rd2+16];
\tret;
}
.visible .entry _Z1gv(
)
{
\tst.local.f32 \t[%rd4], %f5;
}
"""


def kernel(**changes: object) -> ck.Kernel:
    report = ck.Report(registers=40, stack=0, spill_stores=0, spill_loads=0, shared=0)
    fields: dict[str, object] = dict(
        function="step_forward", cell="lstm", dtype="float", lanes=4, arch=90, report=report
    )
    vectors = {"ld.global.v4.f32": 4, "st.global.v4.f32": 1, "fma.rn.f32": 9}
    return ck.Kernel(**{**fields, "instructions": vectors, **changes})  # type: ignore[arg-type]


def test_a_report_of_ptxas_is_read() -> None:
    assert ck.parse_ptxas(LOG) == {
        "_Z1fv": ck.Report(registers=64, stack=8, spill_stores=16, spill_loads=12, shared=512),
        "_Z1gv": ck.Report(registers=30, stack=0, spill_stores=0, spill_loads=0, shared=0),
    }


def test_instructions_are_counted_kernel_by_kernel() -> None:
    assert ck.parse_ptx(PTX) == {
        "_Z1fv": {"ld.param.u64": 1, "bra": 1, "ld.global.v4.f32": 2, "ret": 1},
        "_Z1gv": {"st.local.f32": 1},
    }


@pytest.mark.parametrize(
    "name, parts",
    [
        (
            "void fused_rnn::cuda::persistent_forward<fused_rnn::RnnTanh, double, 4>(X<double>)",
            ("persistent_forward", "rnn_tanh", "double", 4),
        ),
        (
            "void fused_rnn::cuda::step_forward<fused_rnn::Gru, fused_rnn::cuda::Bf16, float, 1>()",
            ("step_forward", "gru", "bf16", 1),
        ),
        (
            "void a::step_forward<a::Lstm, float, a::Dual<float>, 1>(a::S<a::Dual<float> >)",
            ("step_forward", "lstm", "float dual", 1),
        ),
    ],
)
def test_names_are_read(name: str, parts: tuple[str, str, str, int]) -> None:
    assert ck.parse_name(name) == parts


def test_every_fault_is_seen() -> None:
    assert ck.problems(kernel()) == []
    spilt = ck.Report(registers=255, stack=8, spill_stores=16, spill_loads=12, shared=0)
    assert ck.problems(kernel(report=spilt)) == [
        "8 bytes of stack",
        "16 bytes of spill stores",
        "12 bytes of spill loads",
    ]
    plain = {"ld.global.f32": 16, "st.global.f32": 4, "mul.f32": 9, "div.s64": 1, "st.local.f32": 3}
    assert ck.problems(kernel(instructions=plain)) == [
        "local memory: 3 instructions",
        "64-bit division: 1 instructions",
        "without a vector load from global memory",
        "without a vector store to global memory",
        "without a fused multiply-add",
    ]
    assert ck.problems(kernel(lanes=1, instructions={"fma.rn.f32": 1})) == []
    assert ck.problems(kernel(function="persistent_forward", instructions={})) == [
        "without a shared load of 16 bytes",
        "without a shuffle",
        "without a fused multiply-add",
    ]


# arch, threads, registers, dynamic shared bytes -> cudaOccMaxActiveBlocksPerMultiprocessor of
# cuda_occupancy.h, which 4000 random points have been compared with.
@pytest.mark.parametrize(
    "arch, threads, registers, shared_bytes, blocks",
    [
        (89, 192, 37, 0, 8),
        (89, 288, 66, 0, 3),
        (89, 480, 62, 46122, 2),
        (86, 224, 26, 59821, 1),
        (120, 256, 37, 82851, 1),
        (80, 160, 20, 0, 12),
        (80, 64, 92, 72938, 2),
    ],
)
def test_occupancy_is_that_of_the_toolkit(
    arch: int, threads: int, registers: int, shared_bytes: int, blocks: int
) -> None:
    report = ck.Report(registers, stack=0, spill_stores=0, spill_loads=0, shared=0)
    assert cs.resident_blocks(kernel(arch=arch, report=report), threads, shared_bytes) == blocks


def test_equal_columns_of_a_table_are_one() -> None:
    rows: dict[tuple[str, ...], list[str]] = {("a",): ["1", "1", "2"], ("b",): ["3", "3", "3"]}
    assert cs.markdown_table(["kernel"], [75, 80, 90], rows) == (
        "| kernel | sm_75 80 | sm_90 |\n| :-- | --: | --: |\n| a | 1 | 2 |\n| b | 3 | 3 |"
    )


@needs_nvcc
def test_local_memory_is_seen_in_a_kernel_that_has_some(tmp_path: Path) -> None:
    source = tmp_path / "planted.cu"
    source.write_text(
        "struct Lstm {};\n"
        "template <class Cell, class S, class V, int W>\n"
        "__global__ void step_forward(V* x, int n) {\n"
        "  V a[64];\n"
        "  for (int i = 0; i < 64; ++i) a[i * n % 64] = x[i];\n"
        "  for (int i = 0; i < 64; ++i) x[i] = a[i * n % 61];\n"
        "}\n"
        "template __global__ void step_forward<Lstm, float, float, 4>(float*, int);\n"
    )
    assert NVCC is not None
    (planted,) = ck.compile_kernels(NVCC, source, 90)
    assert str(planted) == "step_forward lstm float width 4"
    found = ck.problems(planted)
    assert "256 bytes of stack" in found
    assert any(clause.startswith("local memory: ") for clause in found)
    assert "without a vector load from global memory" in found


def check(archs: list[int]) -> None:
    assert NVCC is not None
    kernels = ck.compile_all(NVCC, SOURCES, archs)
    assert {k.function for k in kernels} == {source.stem for source in SOURCES}
    assert {k.cell for k in kernels} == {"rnn_tanh", "rnn_relu", "lstm", "gru"}
    found = [f"{k}, sm_{k.arch}: {clause}" for k in kernels for clause in ck.problems(k)]
    assert not found, "\n".join(found)
    # The plan's largest problem must have room on the device, in every kernel it is for.
    for (name, arch), launch in cs.plan_launches(kernels).items():
        (of_plan,) = [k for k in kernels if (str(k), k.arch) == (name, arch)]
        assert cs.resident_blocks(of_plan, launch.threads, launch.shared_bytes) >= 1, name


@needs_nvcc
def test_kernels_of_the_oldest_and_a_recent_architecture() -> None:
    check([75, 90])


@needs_nvcc
@pytest.mark.slow
def test_kernels_of_every_architecture() -> None:
    check([arch for arch in cs.DEVICES if arch not in (75, 90)])

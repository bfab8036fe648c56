"""scripts/mutate_sync.py: its rules find every synchronisation and guard, a mutant is one change,
and a bug that is caught is told from a run that is broken. One test tries a few of them all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from emulator import build

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.append(str(SCRIPTS))

import mutate_sync as ms  # noqa: E402
import mutations as mu  # noqa: E402

MUTANTS = mu.all_mutants()

# In the form of ours: each synchronisation and guard that a rule is about.
KERNEL = """\
// __syncthreads() in a comment
#if defined(__CUDACC__)
if (only_nvcc) __syncthreads();
#else
if (a && (b || c) && unit < hidden) x = 1;
if (a || i >= 0) return;
if (const auto d = e(f)) return d;
while (near < n && rows[near].first <= i) ++near;
__syncthreads();
x += __shfl_xor_sync(kAllLanes, y[0], lanes);
const T* p = array ? array + f(a, b) : nullptr;
call(kept ? u : v);
for (int i = threadIdx.x; a.b && i < G * H; i += 2) z = buffer + (i + 1) % 2 * H;
#endif
"""
CHANGES = [  # line, old, new
    (5, "a", "true"),
    (5, "(b || c)", "true"),
    (5, "unit < hidden", "true"),
    (5, "<", "<="),
    (6, "a", "false"),
    (6, "i >= 0", "false"),
    (6, ">=", ">"),
    (6, "a || i >= 0", "false"),
    (7, "const auto d = e(f)", "const auto d = e(f); true"),
    (7, "const auto d = e(f)", "const auto d = e(f); false"),
    (8, "near < n", "true"),
    (8, "<", "<="),
    (8, "rows[near].first <= i", "true"),
    (8, "<=", "<"),
    (9, "__syncthreads()", "(void)0"),
    (9, "__syncthreads()", "__syncwarp()"),
    (10, "kAllLanes", "0xFFFFu"),
    (10, "lanes", "(lanes ^ 4)"),
    (11, "array", "true"),
    (11, "array", "false"),
    (12, "kept", "true"),
    (12, "kept", "false"),
    (13, "a.b", "true"),
    (13, "i", "i + 1"),
    (13, "<", "<="),
    (13, "(i + 1) % 2", "i % 2"),
]


def mutants_of(text: str) -> list[mu.Mutant]:
    return mu.mutants_of("cuda/persistent.cuh", text, mu.RULES)


def test_rules() -> None:
    found = [(mutant.line, mutant.old, mutant.new) for mutant in mutants_of(KERNEL)]
    assert sorted(found) == sorted(CHANGES)


def test_a_mutant_is_one_change() -> None:
    for mutant in MUTANTS:
        start, end = mutant.span
        assert mutant.old != mutant.new
        assert mutant.mutated[:start] == mutant.text[:start]
        assert mutant.mutated[start:].startswith(mutant.new)
        assert mutant.mutated[start + len(mutant.new) :] == mutant.text[end:]
    assert len({(mutant.file, mutant.mutated) for mutant in MUTANTS}) == len(MUTANTS)


def test_every_rule_is_of_use() -> None:
    """But for those of synchronisation that no kernel has yet."""
    files = sorted({(mutant.file, mutant.text) for mutant in MUTANTS})
    idle = [r for r in mu.RULES + mu.CELL_BUGS if not any(mu.mutants_of(*f, [r]) for f in files)]
    names = [rule.name for rule in idle]
    assert names == ["barrier", "fence", "acquire", "release", "async copy"], idle  # __syncwarp


def test_every_synchronisation_is_found() -> None:
    """Counted without the rules."""
    for word, mutants_each in (("__syncthreads", 2), ("__shfl_xor_sync", 2)):
        places = 0
        for path in mu.CSRC.glob("cuda/*.cuh"):
            places += len(re.findall(word + r"\(", re.sub("//.*", "", path.read_text())))
        rules = ("barrier", "shuffle's mask", "shuffle's lane")
        about = [m for m in MUTANTS if m.rule in rules and word in m.text[slice(*m.scope)]]
        assert places > 0 and len(about) == mutants_each * places, word


@pytest.mark.parametrize(
    "line",
    [
        "__threadfence_block();",
        "x = __ballot_sync(mask, y);",
        "x = atomicAdd(p, 1);",
        "cp_async_wait_all<0>();",
        "store_release(p, 1);",
        "cluster_barrier(p);",
    ],
)
def test_an_unknown_synchronisation_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "new.cuh").write_text(f"__syncthreads();\n{line}\n")
    word = re.search(r"\w+(?=[(<])", line.split("=")[-1])
    assert word is not None
    with pytest.raises(ValueError, match=rf"cuda/new.cuh: line 2: {word[0]}"):
        mu.all_mutants(tmp_path)


def test_a_guard_out_of_reach_is_refused() -> None:
    assert mu.missed("if (a) b();", []) == ["line 1: if"]
    assert mu.missed("if constexpr (a) b();", []) == []


def test_equivalent_mutants_exist() -> None:
    assert ms.EQUIVALENT.keys() <= {mutant.key for mutant in MUTANTS}
    assert all(len(why) > 10 for why in ms.EQUIVALENT.values())


@pytest.mark.parametrize(
    ("output", "how"),
    [
        ("E   AssertionError: output: Tensor-likes are not close!", "numbers"),
        ("E   RuntimeError: data race: read by block", "data race"),
        ("E   RuntimeError: deadlock: all wait", "emulator: deadlock"),
        ("E   RuntimeError: fused_rnn: starting the CUDA kernel x", "refused launch"),
        ("E   ValueError: max of nothing\nFAILED tests/test_cuda_plan.py", "ValueError"),
        ("==7==ERROR: AddressSanitizer: heap-buffer-overflow on", "ASan: heap-buffer-overflow"),
        ("a.cuh:3:5: runtime error: index 4 out of bounds", "UBSan: index 4 out of bounds"),
    ],
)
def test_how_it_failed(output: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    completed = subprocess.CompletedProcess([], 1, stdout=output, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: completed)
    assert ms.how_it_failed("plain", Path("module"), [], 1) == how


def test_a_broken_run_catches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for output in ("E   ImportError: no module", "E   RuntimeError: no module\nERROR tests/"):
        completed = subprocess.CompletedProcess([], 1, stdout=output, stderr="")
        monkeypatch.setattr(subprocess, "run", lambda *_, c=completed, **__: c)
        with pytest.raises(RuntimeError, match="another reason:\n.*no module"):
            ms.how_it_failed("plain", Path("module"), [], 1)


@pytest.mark.slow
@pytest.mark.skipif(not build.available(), reason="needs Linux, g++ and ninja")
def test_some_mutants() -> None:
    command = [sys.executable, str(SCRIPTS / "mutate_sync.py"), "--sample", "6"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
